<?php
// A back end's side in PHP: publishes one event to the exchange that Pointsman listens to.
//
//     composer require php-amqplib/php-amqplib      (or Debian's package php-amqplib)
//     php examples/publish.php

declare(strict_types=1);

use PhpAmqpLib\Connection\AMQPStreamConnection;
use PhpAmqpLib\Message\AMQPMessage;

$autoload = __DIR__ . '/../vendor/autoload.php';
require is_file($autoload) ? $autoload : 'PhpAmqpLib/autoload.php';

$event = [
    'data' => [
        'type' => 'deal.moved',
        'tenant_id' => 'acme',
        'id' => 1003,
        'deal_id' => 42,
        'actor_id' => 1,
        'stage' => 'won',
    ],
];

$url = parse_url(getenv('AMQP_URL') ?: 'amqp://guest:guest@127.0.0.1:5672');
$connection = new AMQPStreamConnection($url['host'], $url['port'] ?? 5672, $url['user'], $url['pass']);
$channel = $connection->channel();
$channel->exchange_declare('events', 'fanout', passive: false, durable: true, auto_delete: false);
$channel->basic_publish(
    new AMQPMessage(json_encode($event, JSON_THROW_ON_ERROR), ['content_type' => 'application/json']),
    'events',
);
$channel->close();
$connection->close();
