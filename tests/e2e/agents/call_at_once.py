# What a client does that calls the moment it starts: not even an HTTP library is loaded before the first call.
import os
import socket

host, port = os.environ["LANEWAY_GATEWAY_URL"].removeprefix("http://").split(":")
token = os.environ["LANEWAY_TOKEN"]
BODY = b'{"model": "any", "messages": [{"role": "user", "content": "What is the capital of France?"}]}'
HEAD = (
    f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n"
    f"Content-Type: application/json\r\nContent-Length: {len(BODY)}\r\nConnection: close\r\n\r\n"
)
with socket.create_connection((host, int(port)), timeout=30) as first:
    first.sendall(HEAD.encode() + BODY)
    answer = first.makefile("rb").read().decode()

import json  # noqa: E402
import urllib.request  # noqa: E402

ASK = {"model": "any", "messages": [{"role": "user", "content": "What is the capital of France?"}]}
CALLS = {
    "models": ("/v1/models", {"Authorization": f"Bearer {token}"}, None),
    "chat": ("/v1/chat/completions", {"Authorization": f"Bearer {token}"}, ASK),
    "chat, streamed": ("/v1/chat/completions", {"Authorization": f"Bearer {token}"}, {**ASK, "stream": True}),
    "messages": ("/v1/messages", {"x-api-key": token, "anthropic-version": "2023-06-01"}, {**ASK, "max_tokens": 64}),
    "ollama": ("/api/chat", {"Authorization": f"Bearer {token}"}, {**ASK, "stream": False}),
    "ollama, streamed": ("/api/chat", {"Authorization": f"Bearer {token}"}, ASK),
}
said = {"at once": [int(answer.split()[1]), answer.partition("\r\n\r\n")[2]]}
for name, (path, headers, body) in CALLS.items():
    data = None if body is None else json.dumps(body).encode()
    url = os.environ["LANEWAY_GATEWAY_URL"] + path
    request = urllib.request.Request(url, data, {"Content-Type": "application/json", **headers})
    with urllib.request.urlopen(request, timeout=30) as response:
        said[name] = [response.status, response.read().decode()]
print(json.dumps(said))
