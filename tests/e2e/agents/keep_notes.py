# Adds a line to a file of its workspace, then calls until it has CALLS answers, and leaves the file as its last words. Once refused, it waits to be stopped.
import os
import pathlib
import signal
import sys
import urllib.error
import urllib.request

signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
notes = pathlib.Path(os.environ["LANEWAY_WORKSPACE"], "notes")
with notes.open("a") as file:
    file.write(f"attempt {os.environ['LANEWAY_ATTEMPT']}\n")
ask = b'{"model": "any", "messages": [{"role": "user", "content": "hello"}]}'
headers = {"Content-Type": "application/json", "Authorization": f"Bearer {os.environ['LANEWAY_TOKEN']}"}
request = urllib.request.Request(f"{os.environ['LANEWAY_GATEWAY_URL']}/v1/chat/completions", ask, headers)
for _ in range(int(os.environ["CALLS"])):
    try:
        urllib.request.urlopen(request, timeout=30).read()
    except urllib.error.HTTPError as error:
        print(error.code, error.read().decode(), flush=True)
        signal.pause()
pathlib.Path("/dev/termination-log").write_text(notes.read_text())
