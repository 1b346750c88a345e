"""`concordat privacy`: what is promised about each unit, planned, explained, certified and audited.

    concordat privacy plan --unit patient --units 2000 --batch 16 --rounds 2 --steps-per-round 4 --delta 1e-5
    concordat privacy explain 8 --delta 1e-5
    concordat privacy certificate releases/NAME --key coordinator.json

A thin shell. The group `audit` is mounted from the entry-point group "concordat.privacy_commands", since it
trains, and fedcore knows no torch. Accountants, matplotlib and reportlab are imported when they are needed.
"""

import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from fedcore._certificate_words import LANGUAGES, Language
from fedcore._privacy_views import certificate_value, patiently, show_certificate, show_trade
from fedcore.cli import MountedGroup, example, report
from fedcore.errors import ConfigError, TamperedRelease

if TYPE_CHECKING:
    from fedcore.certificate import Certificate

__all__ = ["privacy"]

_EPSILONS = (1.0, 2.0, 4.0, 8.0)
_RELATIONS = ("add_or_remove_one", "replace_one")


class _Group(MountedGroup):
    """The commands below, and `audit`."""

    mounts: ClassVar[str] = "concordat.privacy_commands"
    path: ClassVar[str] = "concordat privacy"
    summaries: ClassVar[Mapping[str, str]] = {
        "audit": "Measure what really leaks, from below: canaries through the real code."
    }


privacy = typer.Typer(
    cls=_Group,
    help="Plan, explain, certify and audit what is promised about each unit.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    epilog=example(
        "concordat privacy plan --unit patient --units 2000 --batch 16 --rounds 2 --steps-per-round 4 --delta 1e-5",
        "concordat privacy explain 8 --delta 1e-5 --lang zh",
        "concordat privacy certificate releases/NAME --key coordinator.json --pdf certificate.pdf",
    ),
)

_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
_Lang = Annotated[str, typer.Option("--lang", metavar="en|zh", help="Language of the words.")]


@privacy.command(
    epilog=example(
        "concordat privacy plan --unit patient --units 2000 --batch 16 --rounds 2 --steps-per-round 4 --delta 1e-5",
        "concordat privacy plan 2 4 8 --find rounds --noise 0.8 --unit patient --units 2000 --batch 16"
        " --steps-per-round 4 --delta 1e-5 --plot rounds.svg",
    )
)
def plan(
    epsilons: Annotated[
        list[float] | None, typer.Argument(metavar="[EPSILON]...", help="Epsilons to plan for. Default: 1 2 4 8.")
    ] = None,
    epsilon: Annotated[
        list[str] | None, typer.Option("--epsilon", metavar="LIST", help="The same; 1,2,4 or repeated.")
    ] = None,
    unit: Annotated[str | None, typer.Option(help="Whom to protect: patient, customer, … or record. Required.")] = None,
    relation: Annotated[
        str, typer.Option(metavar="|".join(_RELATIONS), help="How neighbouring data sets differ.")
    ] = _RELATIONS[0],
    units: Annotated[int | None, typer.Option(help="Units that one institution holds, about. Required.")] = None,
    delta: Annotated[float | None, typer.Option(help="Well below 1 in UNITS, such as 1e-5. Required.")] = None,
    batch: Annotated[float | None, typer.Option(help="Units expected in a step. Or --sampling-rate.")] = None,
    sampling_rate: Annotated[float | None, typer.Option(help="Chance that a unit enters a step. Or --batch.")] = None,
    steps_per_round: Annotated[int | None, typer.Option(help="Noisy steps in a round. Required.")] = None,
    rounds: Annotated[int | None, typer.Option(help="Rounds of the job. Required unless they are found.")] = None,
    noise: Annotated[float | None, typer.Option(help="A noise multiplier: then epsilon is found for rounds.")] = None,
    find: Annotated[
        str | None, typer.Option(metavar="noise|rate|rounds|epsilon", help="What to find. Default: what is left out.")
    ] = None,
    institutions: Annotated[int, typer.Option(help="How many are averaged.")] = 1,
    parameters: Annotated[int | None, typer.Option(help="Numbers trained; tells whether to expect a gain.")] = None,
    clip: Annotated[float, typer.Option(help="Clip norm; noise and signal grow with it alike.")] = 1.0,
    sampler: Annotated[str, typer.Option(metavar="poisson|truncated_poisson", help="How units are drawn.")] = "poisson",
    batch_limit: Annotated[int | None, typer.Option(help="Of truncated_poisson: most units in a step.")] = None,
    largest_units: Annotated[int | None, typer.Option(help="Of truncated_poisson: a bound on UNITS.")] = None,
    honest_minimum: Annotated[
        int | None, typer.Option(help="Share the noise of joint steps among so many honest institutions.")
    ] = None,
    plot: Annotated[Path | None, typer.Option(metavar="FILE", help="Also draw it: .png, .svg or .pdf.")] = None,
    as_json: _Json = False,
) -> None:
    """Show what an epsilon costs before anything is spent: noise, rate or rounds, and whether to expect a gain."""
    from fedcore import plots
    from fedcore.privacy.units import PrivacyUnit
    from fedcore.trade import FINDS, Question, chart

    sought = find or ("noise" if noise is None else "epsilon")
    if sought not in FINDS:
        raise ConfigError(f"--find {sought} is not known", expected="one of " + ", ".join(FINDS))
    if relation not in _RELATIONS:
        raise ConfigError(f"--relation {relation} is not known", expected=" or ".join(_RELATIONS))
    asked = _epsilons(epsilons, epsilon)
    if asked and sought == "epsilon":
        raise ConfigError("epsilon is found here, and cannot be given too", do="leave it out, or give --find rounds")
    if batch is not None and sampling_rate is not None:
        raise ConfigError("--batch and --sampling-rate say the same", do="give one of them")
    needed = {"--unit": unit, "--units": units, "--delta": delta, "--steps-per-round": steps_per_round}
    needed |= {} if sought == "rounds" else {"--rounds": rounds}
    needed |= {} if sought == "noise" else {"--noise": noise}
    needed |= {} if sought == "rate" else {"--batch or --sampling-rate": batch if batch is not None else sampling_rate}
    if missing := [name for name, value in needed.items() if value is None]:
        raise ConfigError(
            "what is promised has no defaults: " + ", ".join(missing) + " must be given",
            do="see the example in 'concordat privacy plan --help'",
        )
    if not units or units < 1:
        raise ConfigError("--units is out of range", expected="a whole number from 1")
    if plot is not None:
        plots.check_path(plot)
    question = Question(
        unit=PrivacyUnit(key=unit or "", relation="replace_one" if relation == "replace_one" else "add_or_remove_one"),
        units=units,
        delta=delta or 0.0,
        rounds=rounds,
        steps_per_round=steps_per_round or 0,
        find=next(f for f in FINDS if f == sought),
        sampling_rate=batch / units if batch is not None else sampling_rate,
        noise_multiplier=noise,
        institutions=institutions,
        parameters=parameters,
        clip_norm_l2=clip,
        sampler=sampler,
        batch_limit=batch_limit,
        largest_units=largest_units,
        honest_minimum=honest_minimum,
    )
    points: tuple[float, ...] = question.points if sought == "epsilon" else asked or _EPSILONS
    answers = tuple(patiently(points, question.answer, "accounting"))
    drawn = None
    if any(a.reason is None for a in answers):
        drawn = chart(question, answers)
        if plot is not None:
            plots.draw(drawn, plot)
    value = {
        **question.to_dict(),
        "rows": [a.to_dict() for a in answers],
        "plot": str(plot) if plot is not None and drawn is not None else None,
    }

    def human() -> None:
        show_trade(question, answers)
        if drawn is not None and len(drawn.points()) > 1:
            typer.echo("\n" + plots.sketch(drawn))
        if value["plot"]:
            typer.echo(f"\nplot: {plot}")

    report(value, as_json=as_json, human=human)


@privacy.command(
    epilog=example(
        "concordat privacy explain 8 --delta 1e-5",
        "concordat privacy explain 2 1e-6 --lang zh",
        "concordat privacy explain 8 --delta 1e-5 --honest-minimum 3",
    )
)
def explain(
    epsilon: Annotated[float, typer.Argument(metavar="EPSILON", help="Such as 8, or inf.")],
    delta_argument: Annotated[float | None, typer.Argument(metavar="[DELTA]", help="Such as 1e-5.")] = None,
    delta: Annotated[float | None, typer.Option(help="The same.")] = None,
    prior: Annotated[float, typer.Option(help="What an attacker believes before looking, in (0, 1).")] = 0.5,
    unit: Annotated[str, typer.Option(help="Whom it protects: patient, customer, … or record.")] = "patient",
    relation: Annotated[
        str, typer.Option(metavar="|".join(_RELATIONS), help="How neighbouring data sets differ.")
    ] = _RELATIONS[0],
    honest_minimum: Annotated[
        int | None, typer.Option(help="Of shared noise: the honest institutions that the epsilon assumes.")
    ] = None,
    lang: _Lang = "en",
    as_json: _Json = False,
) -> None:
    """Say in plain words what an epsilon means for one unit: a bound on any attacker's success."""
    from fedcore.explain import Explanation
    from fedcore.privacy.units import PrivacyUnit

    language = _language(lang)
    given = [d for d in (delta_argument, delta) if d is not None]
    if len(given) != 1:
        raise ConfigError(
            "an epsilon says nothing without its delta" if not given else "delta is given twice",
            expected="one delta, such as 1e-5, or 0",
            do=f"concordat privacy explain {epsilon:g} --delta 1e-5",
        )
    if relation not in _RELATIONS:
        raise ConfigError(f"--relation {relation} is not known", expected=" or ".join(_RELATIONS))
    who = PrivacyUnit(key=unit, relation="replace_one" if relation == "replace_one" else "add_or_remove_one")
    explanation = Explanation(epsilon=epsilon, delta=given[0], unit=who, prior=prior, honest_minimum=honest_minimum)

    def human() -> None:
        typer.echo(explanation.title(language))
        for paragraph in explanation.means(language):
            typer.echo("\n" + paragraph)
        if (assumed := explanation.assumes(language)) is not None:
            typer.echo("\n" + assumed)
        typer.echo("\n" + {"en": "What it does not mean", "zh": "它不意味着什么"}[language])
        for line in explanation.does_not_mean(language):
            typer.echo(f"- {line}")

    report(explanation.to_dict(language), as_json=as_json, human=human)


@privacy.command(
    epilog=example(
        "concordat privacy certificate releases/NAME --key coordinator.json",
        "concordat privacy certificate releases/NAME --key coordinator.json --out signed.json --pdf page.pdf",
    )
)
def certificate(
    release: Annotated[
        Path, typer.Argument(metavar="RELEASE", help="A release's directory, or a certificate that was exported.")
    ],
    key: Annotated[
        str | None,
        typer.Option(
            "--key",
            "--coordinator",
            metavar="FILE|HEX",
            help="The coordinator's card (coordinator.json) or public key.",
        ),
    ] = None,
    institution: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="An institution's enrolment.json: its figures must be signed by it."),
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE.json", help="Export the signed statement.")] = None,
    pdf: Annotated[Path | None, typer.Option(metavar="FILE.pdf", help="Export a page for people.")] = None,
    lang: _Lang = "en",
    as_json: _Json = False,
) -> None:
    """Verify a release's privacy certificate offline, print it, and export it. Without --key it says so."""
    from fedcore._certificate_text import text_of

    language = _language(lang)
    if key is None and (out is not None or pdf is not None):
        raise ConfigError("only a verified certificate is exported", do="give --key coordinator.json")
    found, data, release_id = _verified(release, key)
    _pin(found, institution or [])
    text = text_of(found, language, pinned=key is not None, release=release_id)
    if pdf is not None:
        from fedcore._certificate_pdf import pdf_bytes

        _write(pdf, pdf_bytes(text, language), "--pdf")
    if out is not None:
        _write(out, data, "--out")
    value = certificate_value(found) | {
        "verified": key is not None,
        "release": release_id,
        "json": str(out) if out is not None else None,
        "pdf": str(pdf) if pdf is not None else None,
    }
    report(value, as_json=as_json, human=lambda: show_certificate(text, value))


def _verified(place: Path, key: str | None) -> tuple["Certificate", bytes, str | None]:
    """The certificate, its bytes and the release's id; without a key it is only known to be whole.

    Raises:
        ConfigError: There is nothing at that place.
        TamperedRelease, TrustError: See `verify_release` and `Certificate.read`.
    """
    from fedcore.certificate import CERTIFICATE, Certificate, named_coordinator, verify_release
    from fedcore.enrolment import pinned_key

    if not place.exists():
        raise ConfigError(f"the release {place} does not exist", expected="a directory, or a certificate's file")
    if place.is_dir():
        signer = pinned_key(key) if key is not None else named_coordinator(place)
        certificate, manifest = verify_release(place, signer)
        return certificate, (place / CERTIFICATE).read_bytes(), manifest.release_id
    try:
        data = place.read_bytes()
    except OSError as error:
        raise ConfigError(f"{place} cannot be read ({error.strerror})") from error
    return Certificate.read(data, pinned_key(key) if key is not None else None), data, None


def _pin(certificate: "Certificate", files: Iterable[Path]) -> None:
    """Require that these institutions signed their figures with the keys of their enrolment.

    Raises:
        TamperedRelease: One did not.
    """
    from fedcore.enrolment import EnrolmentRequest

    for request in map(EnrolmentRequest.read, files):
        attestation = certificate.attestation(request.name)
        if attestation is None or attestation.identity != request.identity:
            raise TamperedRelease(
                f"the certificate holds no figures that {request.name} signed with the key of its enrolment",
                do="ask the institution; do not rely on the certificate",
            )


def _epsilons(positional: list[float] | None, options: list[str] | None) -> tuple[float, ...]:
    """All epsilons that were given, in order, each once.

    Raises:
        ConfigError: One is not a number above 0.
    """
    found: list[float] = []
    for text in [part for option in options or [] for part in re.split(r"[\s,]+", option) if part]:
        try:
            found.append(float(text))
        except ValueError as error:
            raise ConfigError(f"--epsilon {text} is not a number", expected="such as 1,2,4,8") from error
    found += positional or []
    if not all(math.isfinite(e) and e > 0 for e in found):
        raise ConfigError("an epsilon is out of range", expected="numbers above 0")
    return tuple(sorted(set(found)))


def _language(name: str) -> Language:
    """One of the languages.

    Raises:
        ConfigError: Another one.
    """
    found = next((known for known in LANGUAGES if known == name), None)
    if found is None:
        raise ConfigError(f"--lang {name} is not known", expected=" or ".join(LANGUAGES))
    return found


def _write(path: Path, data: bytes, option: str) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written ({error.strerror})", do=f"choose another {option}") from error
