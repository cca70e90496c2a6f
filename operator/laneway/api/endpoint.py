"""Where a lane's model server answers, and how to speak to it."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

from pydantic import Field

from laneway.api.base import Model, Rule, list_map


class Server(StrEnum):
    """What kind of server answers; it decides probe path, wire APIs, authentication and time-outs."""

    VLLM = "vLLM"
    OLLAMA = "Ollama"
    OPENAI = "OpenAI"
    ANTHROPIC = "Anthropic"
    GEMINI = "Gemini"
    OTHER = "Other"


class Auth(StrEnum):
    """How the lane's key is sent."""

    BEARER = "Bearer"
    X_API_KEY = "XApiKey"
    X_GOOG_API_KEY = "XGoogApiKey"
    NONE = "None"


class WireAPI(StrEnum):
    """The protocols that model clients speak."""

    CHAT_COMPLETIONS = "ChatCompletions"
    RESPONSES = "Responses"
    MESSAGES = "Messages"
    OLLAMA_CHAT = "OllamaChat"
    GENERATE_CONTENT = "GenerateContent"
    EMBEDDINGS = "Embeddings"


class CredentialRef(Model):
    """A key of a Secret in the lane's namespace."""

    atomic: ClassVar[bool] = True

    name: str = Field(
        min_length=1, max_length=253, description='Name of a Secret labelled laneway.dev/credential: "true".'
    )
    key: str = Field(default="apiKey", min_length=1, max_length=253, description="Key inside the Secret.")


class ServedAPI(Model):
    """A wire API that the server speaks."""

    name: WireAPI = Field(description="Which API.")
    path: str | None = Field(
        default=None,
        min_length=2,
        max_length=256,
        pattern="^(/[A-Za-z0-9_~:@+-][A-Za-z0-9_~:@+.-]*)+$",
        description="Where it is below the url, whose /v1 at the end is left out. Default: /v1/chat/completions, /v1/responses, /v1/messages, /api (OllamaChat),"
        " /v1beta/models (GenerateContent), /v1/embeddings.",
    )


class Header(Model):
    """A header that the gateway adds to every request to the server."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!(self.name.lowerAscii() in ['authorization', 'x-api-key', 'x-goog-api-key', 'cookie', 'proxy-authorization'])",
            "a key is not a header of the lane; use credentialRef",
            field=".name",
        ),
        Rule(
            "!(self.name.lowerAscii() in ['host', 'content-length', 'content-type', 'content-encoding', 'accept-encoding',"
            " 'transfer-encoding', 'connection', 'keep-alive', 'te', 'trailer', 'upgrade', 'expect'])",
            "headers of the connection and of the body are the gateway's own",
            field=".name",
        ),
    )

    name: str = Field(min_length=1, max_length=64, pattern="^[A-Za-z0-9_-]+$", description="Name of the header.")
    value: str = Field(
        min_length=1,
        max_length=1024,
        pattern="^[!-~]([ -~]*[!-~])?$",
        description="Its value. Everybody who may read the lane reads it.",
    )


class Endpoint(Model):
    """Where the model server answers, and how to speak to it."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "isURL(self.url) && url(self.url).getScheme() in ['http', 'https'] && url(self.url).getHostname() != ''"
            " && !self.url.contains('@') && !self.url.contains('?') && !self.url.contains('#')",
            "url must be http or https with a host, without user, query or fragment",
        ),
        Rule(
            "!has(self.credentialRef) || self.url.startsWith('https://')"
            " || (has(self.insecureCredential) && self.insecureCredential)"
            " || self.url.matches('^http://([a-z0-9-]+|[a-z0-9.-]+[.]svc|[a-z0-9.-]+[.]svc[.]cluster[.]local)(:[0-9]+)?(/|$)')",
            "a credential goes over plain http only inside the cluster (a host of one label, .svc or .svc.cluster.local),"
            " or with insecureCredential: true",
        ),
        Rule(
            "!has(self.auth) || self.auth == 'None' || has(self.credentialRef)",
            "an auth other than None needs a credentialRef",
        ),
    )

    url: str = Field(
        min_length=8,
        max_length=512,
        description="http or https root of the server, with any path prefix; the path of an API is appended and a /v1 at"
        " the end (for Gemini also a /v1beta) is not doubled. A host of one label is a Service in the lane's namespace.",
    )
    server: Server = Field(
        default=Server.OTHER,
        description="Kind of server: decides probe path, wire APIs, authentication and default time-outs.",
    )
    apis: tuple[ServedAPI, ...] = Field(
        default=(),
        max_length=6,
        json_schema_extra=list_map("name"),
        description="The wire APIs that the server speaks, and no others. Default: by server.",
    )
    credential_ref: CredentialRef | None = Field(
        default=None, description="The key that the gateway sends; run pods never see it."
    )
    auth: Auth | None = Field(
        default=None,
        description="Header that carries the key: Authorization: Bearer, x-api-key or x-goog-api-key. Default: XApiKey for"
        " Anthropic, XGoogApiKey for Gemini, else Bearer.",
    )
    headers: tuple[Header, ...] = Field(
        default=(),
        max_length=16,
        json_schema_extra=list_map("name"),
        description="Headers that the gateway adds to every request to the server; they win over the client's.",
    )
    insecure_credential: bool = Field(default=False, description="Allow the key to leave the cluster over plain http.")
