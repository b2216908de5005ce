"""The forms in which each signer's credentials can be written, and where they come from when none are written.

`FORMS` and `CHAINS` are the whole of it: a form's keys stand below `credentials:` in the config; a link of a chain
fills the keys of one of the forms from environment variables.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from poller.providers.credentials import alibaba, huawei
from poller.providers.credentials.asking import METADATA_TIMEOUT
from poller.providers.credentials.fetching import Fetcher, FetchingSource, Habits
from poller.providers.credentials.forms import AccessKey, AuthToken, Basic, Bearer, Credentials, HeaderCredential
from poller.providers.credentials.source import Means, Origin, Secret
from poller.providers.credentials.static import StaticSource
from poller.providers.request import encode_segment
from poller.providers.transport import HttpTransport


class FormError(ValueError):
    """Why no credentials come of a form: at which of its keys, what was found and what is allowed."""

    def __init__(self, key: str, text: str) -> None:
        self.key = key
        super().__init__(text)


@dataclass(frozen=True, slots=True)
class Site:
    """What the fetching of a connection's credentials depends on: ``timeout`` in seconds, and servers (``sts``,
    ``metadata``, ``iam``) that take the place of the vendor's.
    """

    region: str | None = None
    project_id: str | None = None
    timeout: float = 10.0
    endpoints: Mapping[str, str] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)

    def is_true(self, variable: str) -> bool:
        """Whether an environment variable is set to true."""
        return self.env.get(variable, "").strip().lower() == "true"


Secrets = Mapping[str, Secret]


@dataclass(frozen=True, slots=True)
class Form:
    """One way to write credentials: its keys (dotted where nested), and what requests are signed with in the end.

    ``fetched`` says where from; without it ``makes`` is called with the secrets. The secrets at ``files`` are paths of
    files, whose content is what counts. ``off``: a variable that forbids this form when it is true.
    """

    keys: tuple[str, ...]
    makes: Callable[..., Credentials]
    optional: tuple[str, ...] = ()
    fetched: Callable[[Secrets, Site], Origin] | None = None
    files: tuple[str, ...] = ()
    off: str = ""

    @property
    def text(self) -> str:
        """The form for people: ``access_key + secret_key (+ security_token)``."""
        optional = "".join(f" (+ {key})" for key in self.optional)
        return " + ".join(self.keys) + optional

    def origin(self, secrets: Secrets, site: Site, name: str) -> Origin:
        """Where the credentials come from; FormError, or ValueError for secrets that cannot be sent.

        ``name`` is where the secrets stand: ``config`` or ``environment``.
        """
        if self.off and site.is_true(self.off):
            raise FormError(self.keys[0], f"{self.off} is true, which forbids this")
        return self.fetched(secrets, site) if self.fetched else self._static(secrets, name)

    def _static(self, secrets: Secrets, name: str) -> Origin:
        required, optional = ([secrets[key] for key in keys if key in secrets] for keys in (self.keys, self.optional))

        def open_source(means: Means | None = None) -> StaticSource:
            del means
            return StaticSource(self.makes, required, optional)

        # Once in vain: what cannot be sent is a mistake in the config.
        open_source().current()
        return Origin(name, open_source)


def _direct(habits: Habits, fetcher: Fetcher, timeout: float) -> Origin:
    """Fetched past every proxy."""

    def open_source(means: Means) -> FetchingSource:
        transport = HttpTransport(timeout=timeout, max_in_flight=1)
        return FetchingSource(fetcher, habits, transport, means.clock, means.logger)

    return Origin(habits.name, open_source)


def _oidc_role(secrets: Secrets, site: Site) -> Origin:
    arn = secrets["role_arn"]
    habits = Habits(
        f"RRSA role {arn.reveal()}",
        "see to it that the role trusts the OIDC provider and this service account, and that the token file is fresh",
        alibaba.AHEAD,
    )
    sts = site.endpoints.get("sts") or alibaba.sts_endpoint(site.region, site.env)
    names = (secrets["oidc_provider_arn"], secrets["oidc_token_file"], secrets.get("role_session_name"))
    return _direct(habits, alibaba.OidcRole(sts, arn, *names), site.timeout)


def _ecs_role(secrets: Secrets, site: Site) -> Origin:
    role = secrets["ecs_role"]
    try:
        encode_segment(role.reveal() or "")
    except ValueError as error:
        raise FormError("ecs_role", f"{error}, the name of a RAM role is allowed") from None
    advice = "see to it that this runs on an ECS instance with that RAM role attached"
    habits = Habits(f"ECS role {role.reveal()}", advice, alibaba.AHEAD)
    metadata = site.endpoints.get("metadata") or alibaba.METADATA
    needs_token = site.is_true("ALIBABA_CLOUD_IMDSV1_DISABLED")
    return _direct(habits, alibaba.EcsRole(metadata, role, needs_token), METADATA_TIMEOUT)


def _credentials_uri(secrets: Secrets, site: Site) -> Origin:
    uri = secrets["credentials_uri"]
    try:
        alibaba.uri_request(uri.reveal() or "")
    except ValueError as error:
        raise FormError("credentials_uri", str(error)) from None
    habits = Habits("credentials URI", "see to it that its server runs and gives out keys", alibaba.AHEAD)
    return _direct(habits, alibaba.CredentialsUri(uri), site.timeout)


def _ecs_agency(secrets: Secrets, site: Site) -> Origin:
    if secrets["agency"].reveal() != "ecs":
        raise FormError("agency", "something else, ecs is allowed")
    advice = (
        "see to it that this runs on an ECS instance with an agency; elsewhere set HUAWEICLOUD_SDK_AK and"
        " HUAWEICLOUD_SDK_SK, or write credentials into the config"
    )
    metadata = site.endpoints.get("metadata") or huawei.METADATA
    return _direct(Habits("ECS agency", advice, huawei.AHEAD), huawei.EcsAgency(metadata), METADATA_TIMEOUT)


def _iam_user(secrets: Secrets, site: Site) -> Origin:
    user, project = secrets["username"], secrets.get("project")
    if not (project and project.reveal()) and not site.project_id:
        raise FormError("project", "missing, a project's name is required here, or its id at params.project_id")
    advice = "see to it that user, password, domain and project are right, and that IAM can be reached from here"
    habits = Habits(f"IAM user {user.reveal()}", advice, huawei.AHEAD, huawei.AFTER_REFUSAL)
    iam = site.endpoints.get("iam") or huawei.iam_endpoint(site.region)
    fetcher = huawei.IamUser(iam, user, secrets["password"], secrets["domain"], project, site.project_id)

    def open_source(means: Means) -> FetchingSource:
        # The one server that is where the polls go: on the internet, behind the same proxy.
        return FetchingSource(fetcher, habits, means.transport(), means.clock, means.logger)

    return Origin(habits.name, open_source)


FORMS: Mapping[str, tuple[Form, ...]] = {
    "acs3-hmac-sha256": (
        Form(("access_key_id", "access_key_secret"), AccessKey, ("security_token",)),
        Form(
            ("role_arn", "oidc_provider_arn", "oidc_token_file"),
            AccessKey,
            ("role_session_name",),
            fetched=_oidc_role,
            files=("oidc_token_file",),
        ),
        Form(("ecs_role",), AccessKey, fetched=_ecs_role, off="ALIBABA_CLOUD_ECS_METADATA_DISABLED"),
        Form(("credentials_uri",), AccessKey, fetched=_credentials_uri),
    ),
    "sdk-hmac-sha256": (
        Form(("access_key", "secret_key"), AccessKey, ("security_token",)),
        Form(("token",), AuthToken),
        Form(("username", "password", "domain"), AuthToken, ("project",), fetched=_iam_user),
        Form(("agency",), AccessKey, fetched=_ecs_agency),
    ),
    "plain": (
        Form(("bearer",), Bearer),
        Form(("basic.username", "basic.password"), Basic),
        Form(("header.name", "header.value"), HeaderCredential),
        Form(("token",), AuthToken),
    ),
}
"""The forms that each signer takes."""


def allowed_forms(signer: str) -> tuple[str, ...]:
    """The forms that a signer takes, each for people."""
    return tuple(form.text for form in FORMS[signer])


def form_for(signer: str, keys: set[str]) -> Form | None:
    """The form that ``keys`` are written in; None when they fit none."""
    return next((f for f in FORMS[signer] if set(f.keys) <= keys <= {*f.keys, *f.optional}), None)


@dataclass(frozen=True, slots=True)
class Link:
    """One link of a default chain: the keys of a form, and the environment variables that fill them.

    It holds if all of ``variables`` are set; a link without any always does. ``fixed`` are keys with their values.
    """

    name: str
    variables: Mapping[str, str] = field(default_factory=dict)
    optional: Mapping[str, str] = field(default_factory=dict)
    fixed: Mapping[str, str] = field(default_factory=dict)

    @property
    def keys(self) -> set[str]:
        """The keys that it may fill."""
        return {*self.variables, *self.optional, *self.fixed}


CHAINS: Mapping[str, tuple[Link, ...]] = {
    "acs3-hmac-sha256": (
        Link(
            "environment",
            {"access_key_id": "ALIBABA_CLOUD_ACCESS_KEY_ID", "access_key_secret": "ALIBABA_CLOUD_ACCESS_KEY_SECRET"},
            {"security_token": "ALIBABA_CLOUD_SECURITY_TOKEN"},
        ),
        Link(
            "RRSA",
            {
                "role_arn": "ALIBABA_CLOUD_ROLE_ARN",
                "oidc_provider_arn": "ALIBABA_CLOUD_OIDC_PROVIDER_ARN",
                "oidc_token_file": "ALIBABA_CLOUD_OIDC_TOKEN_FILE",
            },
            {"role_session_name": "ALIBABA_CLOUD_ROLE_SESSION_NAME"},
        ),
        Link("ECS role", {"ecs_role": "ALIBABA_CLOUD_ECS_METADATA"}),
        Link("credentials URI", {"credentials_uri": "ALIBABA_CLOUD_CREDENTIALS_URI"}),
    ),
    "sdk-hmac-sha256": (
        Link(
            "environment",
            {"access_key": "HUAWEICLOUD_SDK_AK", "secret_key": "HUAWEICLOUD_SDK_SK"},
            {"security_token": "HUAWEICLOUD_SDK_SECURITY_TOKEN"},
        ),
        Link("ECS agency", fixed={"agency": "ecs"}),
    ),
    "plain": (),
}
"""Where each signer's credentials come from when none are written: the first link that holds."""


def default_link(signer: str, site: Site) -> Link | None:
    """The first link of the signer's chain that holds; None where no credentials are called for.

    FormError when none holds, and when a link is filled by half: that is a slip, not a wish for the next one.
    """
    links = [link for link in CHAINS[signer] if not site.is_true(_off(signer, link))]
    for link in links:
        names = link.variables.values()
        unset = [name for name in names if not site.env.get(name, "").strip()]
        if not unset:
            return link
        if len(unset) < len(names):
            some = ", ".join(name for name in names if name not in unset)
            raise FormError("", f"missing, and the environment has {some} without {', '.join(unset)}")
    if not links:
        return None
    ways = "; or ".join(f"{', '.join(link.variables.values())} ({link.name})" for link in links)
    raise FormError("", f"missing, required here or as variables: {ways}")


def _off(signer: str, link: Link) -> str:
    form = form_for(signer, link.keys)
    return form.off if form else ""
