"""A back end with Python's `pika`: publishes each body, and waits until the broker has it.

    python publish.py URL EXCHANGE ROUTING_KEY BODY...
"""

import sys

import pika

url, exchange, routing_key, *bodies = sys.argv[1:]
connection = pika.BlockingConnection(pika.URLParameters(url))
channel = connection.channel()
channel.confirm_delivery()
for number, body in enumerate(bodies):
    properties = pika.BasicProperties(
        content_type="application/json",
        delivery_mode=2,
        headers={"shop": "berlin", "number": number, "nested": {"a": [1, None]}, "fast": True},
    )
    channel.basic_publish(exchange, routing_key, body.encode(), properties, mandatory=True)
    print(number, flush=True)
connection.close()
