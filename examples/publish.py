"""Publishes events from Python, as a back end should. Copy the class `EventPublisher` into your application.

    pip install pika
    export AMQP_URL=amqp://user:password@rabbit.internal:5672/%2f
    python publish.py                  one event, made below
    python publish.py events.ndjson    the events of a file: one, or many of them; `-` reads them as they come

Exit codes: 0 the broker has them all; 1 something is no event; 3 the broker cannot be reached, or refuses.
"""

import json
import os
import sys

import pika
from pika.adapters.utils.connection_workflow import AMQPConnectorException
from pika.exceptions import AMQPChannelError, AMQPConnectionError, AMQPError


class EventPublisher:
    """Connects when the first event is published, and keeps the connection.

    Make one for each thread, after a server has forked: pika's connections are not to be shared.
    """

    def __init__(self, url, exchange="events"):
        self.parameters = pika.URLParameters(url)
        self.parameters.socket_timeout = 5
        self.parameters.stack_timeout = 5
        # A broker that is short of memory takes nothing for a while.
        self.parameters.blocked_connection_timeout = 5
        self.exchange = exchange
        self.channel = None

    def publish(self, event):
        """Publishes an event, such as `{"data": {"type": "deal.moved", ...}}`. Returns once the broker has it."""
        self.send(json.dumps(event, ensure_ascii=False))

    def send(self, body):
        """As `publish`, with what is JSON already."""
        for again in (True, False):
            try:
                self.channel = self.channel or self._connect()
                # Not mandatory: where nobody listens no queue takes the event, and that is no fault of who sends it.
                self.channel.basic_publish(
                    exchange=self.exchange,
                    routing_key="",
                    body=body.encode(),
                    properties=pika.BasicProperties(
                        content_type="application/json",
                        delivery_mode=pika.DeliveryMode.Persistent,
                    ),
                )
                return
            except Exception as error:
                connected = self.channel is not None
                # What is half done is not used again.
                self.channel = None
                # Where nothing was sent for a while the connection may be long gone: once more, on a new one. An event
                # that was under way just then may be published twice: its id tells.
                lost = isinstance(error, (AMQPConnectionError, AMQPChannelError))
                if not (again and connected and lost):
                    raise

    def _connect(self):
        channel = pika.BlockingConnection(self.parameters).channel()
        # The same words as in Pointsman's configuration: whoever comes first makes it.
        channel.exchange_declare(self.exchange, exchange_type="fanout", durable=True)
        # Without confirms nobody would hear of an event that the broker never got.
        channel.confirm_delivery()
        return channel


def is_event(text):
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def main():
    publisher = EventPublisher(os.environ.get("AMQP_URL") or "amqp://guest:guest@127.0.0.1:5672/%2f")
    if len(sys.argv) < 2:
        data = {"type": "deal.moved", "tenant_id": "acme", "id": 1003}
        publisher.publish({"data": data | {"deal_id": 42, "board": "sales", "actor_id": 1, "stage": "won"}})
        return
    # An event ends where what was read is JSON: so it may stand on one line, or on many.
    body = ""
    with sys.stdin if sys.argv[1] == "-" else open(sys.argv[1], encoding="utf-8") as lines:
        for line in lines:
            body = (body + line).lstrip()
            if is_event(body):
                publisher.send(body)
                body = ""
    if body:
        fail(1, f"this is no JSON object: {body.splitlines()[0]}")


def fail(code, what):
    print(f"publish.py: {what}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    try:
        main()
    except OSError as error:
        fail(3, f"cannot read {error.filename}: {error.strerror}")
    except (AMQPError, AMQPConnectorException, ValueError) as error:
        fail(3, f"cannot publish: {error!r}")
