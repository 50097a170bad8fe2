"""Another viewer of SMART Health Links, from the specification and jwcrypto, without any code of Galen.

    shl.py open LINK_FILE [PASSCODE_FILE]   prints what is behind a link: a JSON list of {contentType, text}
    shl.py host FOLDER                      serves a file behind a link of its own until it is killed: the first
                                            line is {link, text}, the file compressed as the specification allows

`open` fetches as a viewer does: the manifest by POST, with embedded files no longer than 64 characters, so that
longer ones are fetched from their location; a direct link by GET. A refusal is printed as {status, body}.
"""

import http.server
import json
import secrets
import sys
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from jwcrypto import jwe, jwk
from jwcrypto.common import base64url_decode, base64url_encode

TIMEOUT = 30


def read_link(text):
    _, _, body = text.strip().rpartition("shlink:/")
    payload = json.loads(base64url_decode(body))
    assert payload.get("v", 1) == 1 and len(payload["key"]) == 43 and len(payload["url"]) <= 128
    assert not ("P" in payload.get("flag", "") and "U" in payload.get("flag", ""))
    return payload


def decrypt(key, text):
    token = jwe.JWE(algs=["dir", "A256GCM"])
    token.deserialize(text, jwk.JWK(kty="oct", k=key))
    header = token.jose_header
    assert (header["alg"], header["enc"]) == ("dir", "A256GCM")
    return header.get("cty"), token.payload.decode()


def fetch(request):
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
        assert answer.headers["access-control-allow-origin"] == "*", "browsers could not read this"
        return answer.read().decode()


def open_link(link, passcode):
    payload = read_link(link)
    flag, key, url = payload.get("flag", ""), payload["key"], payload["url"]
    if "U" in flag:
        texts = [(None, fetch(f"{url}?recipient=" + urllib.parse.quote("Another viewer")))]
    else:
        body = {"recipient": "Another viewer", "embeddedLengthMax": 64}
        if "P" in flag:
            body["passcode"] = passcode
        headers = {"content-type": "application/json"}
        post = urllib.request.Request(url, json.dumps(body).encode(), headers, method="POST")
        texts = []
        for file in json.loads(fetch(post))["files"]:
            text = file["embedded"] if "embedded" in file else fetch(file["location"])
            assert len(file.get("embedded", "")) <= 64
            texts.append((file["contentType"], text))
    files = []
    for named, text in texts:
        content_type, plain = decrypt(key, text)
        assert named in (None, content_type)
        files.append({"contentType": content_type, "text": plain})
    return files


def host(folder):
    key = jwk.JWK(kty="oct", k=base64url_encode(secrets.token_bytes(32)))
    text = Path(folder, "document.json").read_text()
    header = {"alg": "dir", "enc": "A256GCM", "cty": "application/fhir+json", "zip": "DEF"}
    token = jwe.JWE(text.encode(), json.dumps(header))
    token.add_recipient(key)
    sealed = token.serialize(compact=True).encode()
    name = base64url_encode(secrets.token_bytes(32))

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            url = urllib.parse.urlparse(self.path)
            good = url.path == f"/{name}" and "recipient" in urllib.parse.parse_qs(url.query)
            self.send_response(200 if good else 404)
            self.end_headers()
            self.wfile.write(sealed if good else b"")

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    url = f"http://127.0.0.1:{server.server_port}/{name}"
    payload = {"url": url, "key": json.loads(key.export_symmetric())["k"], "flag": "LU", "label": "Ein Befund"}
    link = "https://viewer.example/#shlink:/" + base64url_encode(json.dumps(payload, separators=(",", ":")))
    print(json.dumps({"link": link, "text": text}), flush=True)
    server.serve_forever()


def main(args):
    match args:
        case ["open", link, *passcode]:
            code = Path(passcode[0]).read_text().strip() if passcode else None
            try:
                print(json.dumps(open_link(Path(link).read_text(), code)))
            except urllib.error.HTTPError as error:
                print(json.dumps({"status": error.code, "body": error.read().decode()}))
        case ["host", folder]:
            host(folder)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
