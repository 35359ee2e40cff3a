"""Calls every operation of the OpenAPI document with made-up requests, as four callers: a platform administrator, an
organization's owner, a viewer of it, and nobody. Fails where a server answers 5xx or anything that the document does not say.

    callers.py METERGATE SCHEMATHESIS

Each caller gets a server of its own in a new folder: what one does must not hide what another would see.
"""

import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

ADMIN_KEY = "conformance-0123456789-0123456789-0123456789"
CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
]
# What would end the caller's own rights, so that the rest would only see 401.
OWN_END = {"owner": ["logout", "delete_organization"], "viewer": ["logout"]}
HERE = pathlib.Path(__file__).parent


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def call(url, method, path, body=None, token=ADMIN_KEY):
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    request = urllib.request.Request(url + path, data, headers, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read() or "null")


def ready(url, server):
    for _ in range(300):
        try:
            with urllib.request.urlopen(url + "/readyz", timeout=1):
                return
        except OSError:
            if server.poll() is not None:
                break
            time.sleep(0.1)
    raise SystemExit("the server did not become ready")


def token_of(caller, url):
    """The caller's secret; the organization `acme` with something in it is made, too."""
    call(url, "POST", "/v1/organizations", {"key": "acme", "plan": "pro"})
    call(url, "POST", "/v1/consume", {"organization": "acme", "meter": "tokens", "quantity": 5, "id": "one"})
    if caller == "nobody":
        return None
    if caller == "administrator":
        return ADMIN_KEY
    account = {"email": f"{caller}@example.com", "password": "correct horse battery"}
    call(url, "POST", "/api/auth/register", account | {"name": caller, "organizationName": caller})
    invitation = call(url, "POST", "/v1/organizations/acme/invitations", {"email": account["email"], "role": caller})
    token = call(url, "POST", "/api/auth/login", account)["token"]
    call(url, "POST", "/v1/invitations/accept", {"token": invitation["token"]}, token)
    return token


def run(caller, metergate, schemathesis):
    """The exit code of a run as this caller."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"http://127.0.0.1:{free_port()}"
        environment = {**os.environ, "METERGATE_ADMIN_KEY": ADMIN_KEY}
        arguments = [metergate, "serve", "--data-dir", folder + "/data", "--listen", url.removeprefix("http://")]
        with open(folder + "/log", "wb") as log:
            server = subprocess.Popen(arguments, env=environment, stdout=log, stderr=log, cwd=folder)
        try:
            ready(url, server)
            token = token_of(caller, url)
            command = [schemathesis, "--config-file", str(HERE / "schemathesis.toml"), "run", url + "/openapi.json"]
            command += ["--checks", ",".join(CHECKS), "--phases", "examples,coverage,fuzzing", "--max-examples", "5"]
            command += ["--seed", "1", "--suppress-health-check", "all", "--warnings", "off", "--no-color"]
            command += ["-H", f"Authorization: Bearer {token}"] if token else []
            for operation in OWN_END.get(caller, []):
                command += ["--exclude-operation-id", operation]
            environment = {**os.environ, "SCHEMATHESIS_HOOKS": str(HERE / "media.py"), "PYTHONPATH": str(HERE)}
            done = subprocess.run(command, env=environment, cwd=folder, timeout=900, capture_output=True, text=True)
            if done.returncode != 0 or server.poll() is not None:
                print(done.stdout[-20_000:], done.stderr[-2_000:], sep="\n")
                return 1
            print(f"{caller}: {done.stdout.strip().splitlines()[-1].strip('= ')}")
            return 0
        finally:
            server.kill()
            server.wait()


if __name__ == "__main__":
    codes = [run(caller, *sys.argv[1:]) for caller in ("administrator", "owner", "viewer", "nobody")]
    sys.exit(max(codes))
