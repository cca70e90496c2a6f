"""Where the API server is and how we prove who we are: the one wrapper around the untyped parts of ``kubernetes.aio``.

Both ways to the API server use it, each with a session of its own: our client, and kopf's watches. The service account's
token is read from its file again every minute (``load_incluster_config`` sets a hook that runs for each request). A proxy of
the environment is looked up once: aiohttp would do so at each request, and look for a netrc file too, which has no say here.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from kubernetes.aio import client as kubernetes_client
from kubernetes.aio import config as kubernetes_config
from yaml import YAMLError

from laneway import __version__
from laneway.kube.errors import KubeError
from laneway.kube.resources import JsonObject

_USER_AGENT = f"laneway/{__version__}"
_BEARER = "BearerToken"
_POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_before_body: ContextVar[Callable[[], None] | None] = ContextVar("before_body", default=None)


class Connection:
    """An authenticated way to one API server."""

    def __init__(self, configuration: Any) -> None:
        self._configuration = configuration
        self._api: Any = kubernetes_client.ApiClient(configuration=configuration)
        self._proxy: str | None = configuration.proxy or _environment_proxy(configuration.host)
        self._sessions: list[aiohttp.ClientSession] = []
        self._own = self.new_session()

    @staticmethod
    def _configuration_as_kubectl() -> Any:
        """Certificates are judged as Go's clients judge them: Python 3.13 also wants extensions that the CA of many a cluster lacks."""
        configuration: Any = kubernetes_client.Configuration()
        configuration.disable_strict_ssl_verification = True
        return configuration

    @classmethod
    async def open(cls, *, kubeconfig: str | None = None) -> Connection:
        """Use ``kubeconfig``, else the pod's service account, else the file that KUBECONFIG names. Raises KubeError."""
        configuration = cls._configuration_as_kubectl()
        try:
            if kubeconfig is None and _load_service_account(configuration):
                return cls(configuration)
            load: Any = kubernetes_config.load_kube_config
            await load(config_file=kubeconfig, client_configuration=configuration, persist_config=False)
        except (kubernetes_config.ConfigException, OSError) as error:
            raise KubeError(f"no usable Kubernetes configuration: {error}") from error
        return cls(configuration)

    @classmethod
    async def open_for_person(cls, *, kubeconfig: str | None, context: str | None) -> tuple[Connection, str]:
        """Connect as kubectl does, and the namespace that is meant when none is named. Raises KubeError.

        ``kubeconfig``, else the files of KUBECONFIG, else that of the home; only without any of them the pod's service account.
        """
        configuration = cls._configuration_as_kubectl()
        try:
            load: Any = kubernetes_config.load_kube_config
            await load(
                config_file=kubeconfig, context=context, client_configuration=configuration, persist_config=False
            )
            return cls(configuration), _context_namespace(kubeconfig, context)
        except (kubernetes_config.ConfigException, OSError, ValueError, YAMLError, TypeError) as error:
            named = kubeconfig is not None or context is not None
            if named or not _load_service_account(configuration):
                # The loader takes it for granted that a file has something in it.
                why = "a file is empty or malformed" if isinstance(error, TypeError) else error
                raise KubeError(f"no usable Kubernetes configuration: {why}") from error
        return cls(configuration), _pod_namespace()

    @property
    def server(self) -> str:
        """Root URL of the API server."""
        return str(self._configuration.host)

    async def request(
        self,
        method: str,
        path_and_query: str,
        *,
        limit: aiohttp.ClientTimeout,
        accept: str = "application/json",
        content_type: str = "application/json",
        body: JsonObject | None = None,
        before_body: Callable[[], None] | None = None,
    ) -> aiohttp.ClientResponse:
        """Send one request; the caller reads and releases the answer. Raises aiohttp's errors and TimeoutError.

        ``before_body`` runs when all is ready to be sent; what it raises is the cause of the error, and nothing is sent.
        """
        token = _before_body.set(before_body)
        try:
            return await self._own.request(
                method,
                self.server + path_and_query,
                headers={"Accept": accept, "Content-Type": content_type},
                data=None if body is None else json.dumps(body),
                timeout=limit,
                server_hostname=self._configuration.tls_server_name or None,
            )
        finally:
            _before_body.reset(token)

    async def upgrade(
        self, path_and_query: str, *, protocol: str, connect_seconds: float
    ) -> aiohttp.ClientWebSocketResponse[bool]:
        """Open a WebSocket; the caller closes it. Raises aiohttp's errors (WSServerHandshakeError for a refusal) and TimeoutError."""
        async with asyncio.timeout(connect_seconds):
            return await self._own.ws_connect(
                self.server + path_and_query,
                protocols=(protocol,),
                server_hostname=self._configuration.tls_server_name or None,
                max_msg_size=0,
            )

    async def credentials(self) -> dict[str, str]:
        """The header that proves who we are; empty when a client certificate does."""
        headers: dict[str, str] = {}
        await self._api.update_params_for_auth(headers, [], [_BEARER], None, None, None)
        return headers

    def new_session(self, *middlewares: aiohttp.ClientMiddlewareType) -> aiohttp.ClientSession:
        """A session of its own; credentials are added to each request, so they never age. It is closed with the connection.

        ``middlewares`` see each request before.
        """

        async def authenticate(
            request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
        ) -> aiohttp.ClientResponse:
            request.headers.update(await self.credentials())
            return await handler(request)

        session = aiohttp.ClientSession(
            # The client's semaphore bounds requests; watches must never wait for a free connection.
            connector=aiohttp.TCPConnector(limit=0, ssl=self._api.rest_client.ssl_context),
            headers={"User-Agent": _USER_AGENT},
            middlewares=(*middlewares, authenticate),
            proxy=self._proxy,
            trace_configs=[_body_tracing()],
        )
        self._sessions.append(session)
        return session

    async def close(self) -> None:
        """Close the connections of our client and of the sessions made here."""
        for session in self._sessions:
            await session.close()
        await self._api.close()
        await asyncio.sleep(0)  # an aborted transport gives its socket back in the loop's next turn


def _load_service_account(configuration: Any) -> bool:
    load: Any = kubernetes_config.load_incluster_config
    try:
        load(client_configuration=configuration)
    except kubernetes_config.ConfigException:  # not in a pod
        return False
    return True


def context_names(kubeconfig: str | None) -> list[str]:
    """Names of the contexts of ``kubeconfig``, else of the files of KUBECONFIG or of the home. Raises KubeError."""
    list_contexts: Any = kubernetes_config.list_kube_config_contexts
    try:
        contexts, _ = list_contexts(config_file=kubeconfig)
    except (kubernetes_config.ConfigException, OSError, ValueError, YAMLError, TypeError) as error:
        raise KubeError(f"no usable Kubernetes configuration: {error}") from error
    return [str(one["name"]) for one in contexts]


def _context_namespace(kubeconfig: str | None, name: str | None) -> str:
    list_contexts: Any = kubernetes_config.list_kube_config_contexts
    contexts, active = list_contexts(config_file=kubeconfig)
    meant = next((one for one in contexts if one["name"] == name), active)
    return str(meant["context"].get("namespace") or "default")


def _pod_namespace() -> str:
    return _POD_NAMESPACE.read_text(encoding="utf-8").strip()


def _environment_proxy(server: str) -> str | None:
    """The proxy that the environment names for this server, NO_PROXY heard."""
    host = urlsplit(server)
    proxy = getproxies().get(host.scheme)
    return None if proxy is None or proxy_bypass(host.netloc) else proxy


def _body_tracing() -> aiohttp.TraceConfig:
    """Calls ``before_body``: aiohttp sends a request's head together with its body, after this hook (a test shows it)."""

    async def call(*_: object) -> None:
        before_body = _before_body.get()
        if before_body is not None:
            before_body()

    tracing = aiohttp.TraceConfig()
    tracing.on_request_chunk_sent.append(call)
    return tracing
