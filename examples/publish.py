"""A back end's side in Python: publishes one event to the exchange that Pointsman listens to.

    pip install pika
    python examples/publish.py
"""

import json
import os

import pika

event = {
    "data": {
        "type": "deal.moved",
        "tenant_id": "acme",
        "id": 1003,
        "deal_id": 42,
        "actor_id": 1,
        "stage": "won",
    }
}

url = os.environ.get("AMQP_URL", "amqp://guest:guest@127.0.0.1:5672/%2f")
with pika.BlockingConnection(pika.URLParameters(url)) as connection:
    channel = connection.channel()
    channel.exchange_declare("events", exchange_type="fanout", durable=True)
    channel.basic_publish(
        exchange="events",
        routing_key="",
        body=json.dumps(event),
        properties=pika.BasicProperties(content_type="application/json"),
    )
