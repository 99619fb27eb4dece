"""An identity provider on this machine: real keys, real signatures, and a server that shows the public halves."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from joserfc import jws
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from kneo_serv.service.auth import OIDCConfig

type Key = RSAKey | ECKey | OKPKey | OctKey

NOW = 1_800_000_000
RSA = RSAKey.generate_key(2048)
EC = ECKey.generate_key("P-256")
OKP = OKPKey.generate_key("Ed25519")


class _Anything(JWSRegistry):
    def get_alg(self, name: str) -> Any:
        return self.algorithms[name]


class Issuer:
    """Serves a discovery document and a key set; counts how often it is asked."""

    def __init__(self) -> None:
        self.keys: dict[str, Key] = {"rsa": RSA, "ec": EC, "okp": OKP}
        self.asked = 0
        self.status = 200
        self.body: bytes | None = None
        self.discovery: dict[str, Any] = {}
        self.gate = threading.Event()
        self.gate.set()
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.gate.wait(10)
                body = issuer.answer(self.path)
                self.send_response(issuer.status)
                if issuer.status == 302:
                    self.send_header("Location", "/keys")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of the base class
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def answer(self, path: str) -> bytes:
        if path == "/.well-known/openid-configuration":
            return json.dumps({"issuer": self.url, "jwks_uri": f"{self.url}/keys", **self.discovery}).encode()
        self.asked += 1
        if self.body is not None:
            return self.body
        return json.dumps(
            {"keys": [{**key.as_dict(private=False), "kid": kid} for kid, key in self.keys.items()]}
        ).encode()

    def environ(self, **more: str) -> dict[str, str]:
        """The variables that make the service accept its tokens."""
        given = {"ISSUER": self.url, "AUDIENCE": "kneo", "ROLE_MAP": "ops=operator;eyes=viewer", **more}
        return {f"KNEO_SERV_OIDC_{name}": value for name, value in given.items()}

    def config(self, **more: str) -> OIDCConfig:
        config = OIDCConfig.from_env(self.environ(**more))
        assert config is not None
        return config

    def token(
        self,
        key: Key = RSA,
        alg: str = "RS256",
        kid: str | None = "rsa",
        header: dict[str, Any] | None = None,
        **claims: Any,
    ) -> str:
        """A token for alice, an operator; a claim that is None is left out."""
        told = {
            "iss": self.url,
            "aud": "kneo",
            "sub": "alice",
            "exp": NOW + 300,
            "iat": NOW,
            "roles": ["ops"],
            **claims,
        }
        payload = json.dumps({name: value for name, value in told.items() if value is not None})
        named = {"alg": alg, **({} if kid is None else {"kid": kid}), **(header or {})}
        return jws.serialize_compact(named, payload, key, registry=_Anything(strict_check_header=False))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.gate.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)
