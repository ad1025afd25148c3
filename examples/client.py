"""A client in Python, for what is no browser: a service, a test, a terminal.

    pip install websockets
    python client.py ws://127.0.0.1:8080/ demo-bob deal:42
"""

import asyncio
import json
import random
import sys

import websockets


class Denied(Exception):
    """The server knows no such token, or has put its user out."""


async def events(url, token, topics):
    """Yields each event's payload. Connects again whenever the connection is lost; raises `Denied` where it may not."""
    attempt = 0
    while True:
        # Longer each time, and not everyone at once; but where the server says when to come back, then.
        wait = min(30.0, 0.5 * 2**attempt) * random.uniform(0.5, 1.5)
        attempt = min(attempt + 1, 6)
        try:
            async with websockets.connect(url) as socket:
                await socket.send(json.dumps({"access_token": token, "topics": topics}))
                async for text in socket:
                    message = json.loads(text)
                    if "data" in message:
                        yield message["data"]
                    elif message.get("error") == "access denied":
                        raise Denied(message["error"])
                    elif message.get("connected") and message.get("type") != "system":
                        # What happened before this did not arrive: an application loads it now.
                        attempt = 0
                        print("connected", file=sys.stderr)
                    else:
                        told = message.get("reconnect_in_ms", message.get("retry_in_ms"))
                        wait = wait if told is None else told / 1000
                        for topic in message.get("denied", []):
                            print(f"refused {topic}", file=sys.stderr)
        except (OSError, websockets.WebSocketException) as lost:
            # 4403: the server has put this user out. To come back at once would be no help.
            if getattr(getattr(lost, "rcvd", None), "code", None) == 4403:
                raise Denied("put out by the server") from lost
        print("lost", file=sys.stderr)
        await asyncio.sleep(wait)


async def main(url, token, *topics):
    async for data in events(url, token, topics):
        print(json.dumps(data, ensure_ascii=False), flush=True)


if __name__ == "__main__":
    try:
        asyncio.run(main(*sys.argv[1:]))
    except Denied as denied:
        sys.exit(f"client.py: {denied}")
    except KeyboardInterrupt:
        pass
