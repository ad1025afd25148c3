<?php
// The application's side of authentication by HTTP: says whose token it is.
//
//     auth:
//       providers:
//         - http:
//             url: https://app.example.com/ws-auth
//             headers: { X-Api-Key: "${WS_AUTH_KEY}" }
//             cache: 30s
//
// To try it:  WS_AUTH_KEY=the-same-key PHP_CLI_SERVER_WORKERS=4 php -S 127.0.0.1:8000 examples/auth/endpoint.php
//
// Pointsman asks  POST {"access_token": "...", "remote_addr": "..."}  and understands
//
//     200 {"user": 7, "tenant": "acme", "expires_at": 1790000000, "role": "manager"}
//         whose token it is. `expires_at` may be left out; every further field that is a text, a number or a truth
//         value becomes an attribute of the session, which rules can ask for.
//     401 or 403
//         nobody's.
//     anything else
//         an outage: the client is told to come back later, and not that its token is bad. So answer 401 for a token
//         that you do not know, and never for a fault of your own.

declare(strict_types=1);

function answer(int $status, array $body): never
{
    http_response_code($status);
    header('Content-Type: application/json');
    echo json_encode($body, JSON_THROW_ON_ERROR);
    exit;
}

// Where your users are. With Laravel this is
//     User::where('websocket_token', hash('sha256', $token))->first()
// and with Symfony a repository's findOneBy(['websocketToken' => hash('sha256', $token)]).
function user_of(string $token): ?array
{
    $file = getenv('USERS_FILE');
    $users = $file !== false
        ? json_decode(file_get_contents($file), true, flags: JSON_THROW_ON_ERROR)
        : [
            'demo-ann' => ['id' => 1, 'company' => 'acme', 'role' => 'manager'],
            'demo-api' => ['id' => 9, 'company' => 'acme', 'role' => 'service'],
        ];
    // Tokens are kept as hashes: who reads the table cannot use them.
    foreach ($users as $known => $user) {
        if (hash_equals(hash('sha256', (string) $known), hash('sha256', $token))) {
            return $user;
        }
    }
    return null;
}

set_exception_handler(function (Throwable $error): void {
    error_log((string) $error);
    answer(500, ['error' => 'internal error']);
});

if ($_SERVER['REQUEST_METHOD'] !== 'POST') {
    answer(405, ['error' => 'POST only']);
}
// Not 403: a key that does not fit is a fault of the configuration, and no client's.
// Without a key nobody is answered: else whoever reaches this endpoint could try tokens.
$key = getenv('WS_AUTH_KEY');
if ($key === false || $key === '') {
    answer(500, ['error' => 'WS_AUTH_KEY is not set']);
}
if (!hash_equals($key, $_SERVER['HTTP_X_API_KEY'] ?? '')) {
    answer(500, ['error' => 'the key does not fit']);
}

$question = json_decode(file_get_contents('php://input'), true, flags: JSON_THROW_ON_ERROR);
$user = user_of($question['access_token']);
if ($user === null) {
    answer(401, ['error' => 'unknown token']);
}
answer(200, array_filter([
    'user' => $user['id'],
    'tenant' => $user['company'],
    'role' => $user['role'] ?? null,
    'expires_at' => $user['expires_at'] ?? null,
], fn ($value) => $value !== null));
