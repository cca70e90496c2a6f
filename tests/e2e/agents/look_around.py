# Calls its model, and prints all that can be found in the pod: environment, mounts, the files of its volumes.
import json
import os
import pathlib
import urllib.request

ASK = {
    "model": "any",
    "messages": [{"role": "user", "content": pathlib.Path(os.environ["LANEWAY_PROMPT_FILE"]).read_text()}],
}
request = urllib.request.Request(
    os.environ["OPENAI_BASE_URL"] + "/chat/completions",
    json.dumps(ASK).encode(),
    {"Content-Type": "application/json", "Authorization": "Bearer " + os.environ["OPENAI_API_KEY"]},
)
with urllib.request.urlopen(request, timeout=30) as response:
    answer, headers = response.read().decode(), dict(response.headers)
files = {
    str(file): file.read_text(errors="replace")
    for folder in ("/laneway", "/workspace", "/tmp", "/var/run", "/run", "/etc")
    for file in pathlib.Path(folder).rglob("*")
    if file.is_file() and os.access(file, os.R_OK) and file.stat().st_size < 65536
}
print(
    json.dumps(
        {
            "answer": answer,
            "headers": headers,
            "environment": dict(os.environ),
            "of process 1": pathlib.Path("/proc/1/environ").read_text(),
            "mounts": pathlib.Path("/proc/self/mountinfo").read_text(),
            "files": files,
            "service account": os.path.exists("/var/run/secrets/kubernetes.io"),
        }
    )
)
