"""A client with Python's `websockets`: prints each message of the server as a line.

    python listen.py URL TOKEN [TOPIC]...
"""

import asyncio
import json
import sys

import websockets


async def listen(url, token, topics):
    async with websockets.connect(url) as socket:
        await socket.send(json.dumps({"access_token": token, "topics": topics}))
        try:
            async for message in socket:
                print(message, flush=True)
        except websockets.ConnectionClosed as closed:
            print(json.dumps({"closed": closed.rcvd.code if closed.rcvd else None}), flush=True)


asyncio.run(listen(sys.argv[1], sys.argv[2], sys.argv[3:]))
