# Calls every wire API with every token of TOKENS (a JSON object by name), and with none; prints status and body of each.
import json
import os
import urllib.error
import urllib.request

URL = os.environ["LANEWAY_GATEWAY_URL"]
ASK = {"model": "any", "max_tokens": 64, "stream": False, "messages": [{"role": "user", "content": "hello"}]}
tokens = {"none": None, "own": os.environ["LANEWAY_TOKEN"], **json.loads(os.environ["TOKENS"])}


def call(path, headers, body):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(URL + path, data, {"Content-Type": "application/json", **headers})
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return [response.status, json.loads(response.read())]
    except urllib.error.HTTPError as error:
        return [error.code, json.loads(error.read())]


def call_all(token):
    bearer = {} if token is None else {"Authorization": f"Bearer {token}"}
    key = {"anthropic-version": "2023-06-01", **({} if token is None else {"x-api-key": token})}
    return {
        "chat": call("/v1/chat/completions", bearer, ASK),
        "messages": call("/v1/messages", key, ASK),
        "ollama": call("/api/chat", bearer, ASK),
        "models": call("/v1/models", bearer, None),
    }


print(json.dumps({name: call_all(token) for name, token in tokens.items()}))
