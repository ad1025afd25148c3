<?php
// Publishes events from PHP, as a back end should. Copy the class `EventPublisher` into your application.
//
//     composer require php-amqplib/php-amqplib         (or Debian's package php-amqplib)
//     export AMQP_URL=amqp://user:password@rabbit.internal:5672/%2f
//     php publish.php                  one event, made below
//     php publish.php events.ndjson    the events of a file: one, or many of them; `-` reads them as they come
//
// Exit codes: 0 the broker has them all; 1 something is no event; 3 the broker cannot be reached, or refuses.

declare(strict_types=1);

use PhpAmqpLib\Channel\AMQPChannel;
use PhpAmqpLib\Connection\AMQPConnectionConfig;
use PhpAmqpLib\Connection\AMQPConnectionFactory;
use PhpAmqpLib\Exception\AMQPChannelClosedException;
use PhpAmqpLib\Exception\AMQPConnectionClosedException;
use PhpAmqpLib\Exception\AMQPExceptionInterface;
use PhpAmqpLib\Exception\AMQPIOException;
use PhpAmqpLib\Message\AMQPMessage;

foreach ([__DIR__ . '/vendor', __DIR__ . '/../vendor', '/usr/share/php/PhpAmqpLib'] as $folder) {
    if (is_file("$folder/autoload.php")) {
        require_once "$folder/autoload.php";
        break;
    }
}

/** Connects when the first event is published, and keeps the connection: make one for a process, not one for an event. */
final class EventPublisher
{
    private ?AMQPChannel $channel = null;

    public function __construct(private readonly string $url, private readonly string $exchange = 'events')
    {
    }

    /** Publishes an event, such as `['data' => ['type' => 'deal.moved', ...]]`. Returns once the broker has it. */
    public function publish(array $event): void
    {
        $this->send(json_encode($event, JSON_THROW_ON_ERROR | JSON_UNESCAPED_UNICODE | JSON_PRESERVE_ZERO_FRACTION));
    }

    /** As `publish`, with what is JSON already. */
    public function send(string $body): void
    {
        $message = new AMQPMessage($body, [
            'content_type' => 'application/json',
            'delivery_mode' => AMQPMessage::DELIVERY_MODE_PERSISTENT,
        ]);
        for ($again = true; ; $again = false) {
            try {
                $this->channel ??= $this->connect();
                // Not mandatory: where nobody listens no queue takes the event, and that is no fault of who sends it.
                $this->channel->basic_publish($message, $this->exchange);
                $this->channel->wait_for_pending_acks(5.0);
                return;
            } catch (Throwable $error) {
                $connected = $this->channel !== null;
                // What is half done is not used again.
                $this->channel = null;
                // In a worker that had nothing to do for a while the connection may be long gone: once more, on a new
                // one. An event that was under way just then may be published twice: its id tells.
                $lost = $error instanceof AMQPIOException
                    || $error instanceof AMQPConnectionClosedException
                    || $error instanceof AMQPChannelClosedException;
                if (!$again || !$connected || !$lost) {
                    throw $error;
                }
            }
        }
    }

    private function connect(): AMQPChannel
    {
        $url = parse_url($this->url) ?: [];
        $config = new AMQPConnectionConfig();
        $config->setHost($url['host'] ?? throw new RuntimeException('the URL of the broker has no host'));
        $config->setIsSecure(($url['scheme'] ?? '') === 'amqps');
        $config->setPort($url['port'] ?? ($config->isSecure() ? 5671 : 5672));
        $config->setUser(rawurldecode($url['user'] ?? 'guest'));
        $config->setPassword(rawurldecode($url['pass'] ?? 'guest'));
        $config->setVhost(rawurldecode(substr($url['path'] ?? '', 1)) ?: '/');
        $config->setConnectionTimeout(5.0);
        $config->setReadTimeout(5.0);
        $config->setWriteTimeout(5.0);
        $config->setChannelRPCTimeout(5.0);
        $channel = AMQPConnectionFactory::create($config)->channel();
        // The same words as in Pointsman's configuration: whoever comes first makes it.
        $channel->exchange_declare($this->exchange, 'fanout', false, true, false);
        // Without confirms nobody would hear of an event that the broker never got.
        $channel->set_nack_handler(fn () => throw new RuntimeException('the broker has not taken the event'));
        $channel->confirm_select();

        return $channel;
    }
}

// The rest is for the command line.

if (realpath($_SERVER['SCRIPT_FILENAME'] ?? '') !== __FILE__) {
    return;
}

function fail(int $code, string $what): never
{
    fwrite(STDERR, "publish.php: $what\n");
    exit($code);
}

if (!class_exists(AMQPMessage::class)) {
    fail(3, 'php-amqplib is missing: composer require php-amqplib/php-amqplib, or apt-get install php-amqplib');
}
$publisher = new EventPublisher(getenv('AMQP_URL') ?: 'amqp://guest:guest@127.0.0.1:5672/%2f');
try {
    if ($argc < 2) {
        $publisher->publish(['data' => [
            'type' => 'deal.moved',
            'tenant_id' => 'acme',
            'id' => 1003,
            'deal_id' => 42,
            'board' => 'sales',
            'actor_id' => 1,
            'stage' => 'won',
        ]]);
        exit(0);
    }
    $lines = @fopen($argv[1] === '-' ? 'php://stdin' : $argv[1], 'r') ?: fail(3, "cannot read $argv[1]");
    // An event ends where what was read is JSON: so it may stand on one line, or on many.
    $body = '';
    while (($line = fgets($lines)) !== false) {
        $body = ltrim($body . $line);
        if (json_decode($body) instanceof stdClass) {
            $publisher->send($body);
            $body = '';
        }
    }
    $body === '' || fail(1, 'this is no JSON object: ' . trim(strtok($body, "\n")));
} catch (AMQPExceptionInterface | RuntimeException $error) {
    fail(3, "cannot publish: {$error->getMessage()}");
}
