"""An application that uses the example's class: publishes each line that it reads, and says so once the broker has it.

    python application.py FOLDER      with the folder of publish.py
"""

import json
import os
import sys

sys.path.insert(0, sys.argv[1])
from publish import EventPublisher  # noqa: E402

publisher = EventPublisher(os.environ["AMQP_URL"])
for line in sys.stdin:
    publisher.publish(json.loads(line))
    print("confirmed", flush=True)
