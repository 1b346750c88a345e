"""A certificate as text: one arrangement of its facts, which the terminal and the PDF show alike."""

import math
from dataclasses import dataclass

from fedcore._certificate_words import NOT_COVERED, Language, not_covered, word
from fedcore.certificate import Certificate
from fedcore.explain import assumption, unit_words
from fedcore.identity import PublicIdentity
from fedcore.manifest import PrivacySpend
from fedcore.privacy.accounting import DpEvent

__all__ = ["Section", "Text", "assumption_of", "text_of"]

Pair = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Section:
    """A heading with facts below it, each a name and what is said of it; the name may be empty."""

    heading: str
    facts: tuple[Pair, ...]


@dataclass(frozen=True, kw_only=True)
class Text:
    """Everything that is shown of a certificate, in order."""

    title: str
    verdict: str
    warnings: tuple[str, ...]
    promise: str
    facts: tuple[Pair, ...]
    table_heading: str
    table: tuple[tuple[str, ...], ...]
    """The first row holds the headings."""
    notes: tuple[str, ...]
    sections: tuple[Section, ...]
    """Events, what is not covered, digests, signatures, how to verify."""


def text_of(certificate: Certificate, language: Language, *, pinned: bool, release: str | None = None) -> Text:
    """Arrange a certificate that `Certificate.read` returned.

    Args:
        certificate: What was verified.
        language: "en" or "zh".
        pinned: Whether it was verified against a key that the reader pinned.
        release: The release's id, when it was verified with its files.
    """

    def w(name: str, /, **values: object) -> str:
        return word(name, language, **values)

    c = certificate
    unit = unit_words(c.unit, language)
    subject = f" · {release}" if release else ""
    notes = [w("reading")]
    elsewhere = [s.institution for s in c.spends if s.delta != c.privacy.delta]
    if elsewhere:
        figures = [f"{name} {_figure(c.recomputed(name, c.privacy.delta), language)}" for name in elsewhere]
        notes.append(w("plan_delta", delta=f"{c.privacy.delta:g}", figures=", ".join(figures)))
    if c.unattested:
        notes.append(w("unattested", names=", ".join(c.unattested)))
    if c.privacy.shares_noise:
        notes.append(w("integers"))
    signers = [(w("coordinator"), _fingerprint_of(c))]
    signers += [(a.institution, a.fingerprint) for a in c.attestations]
    return Text(
        title=w("title") + subject,
        verdict=w("verified" if pinned else "unpinned"),
        warnings=(w("unsafe", marks=", ".join(c.unsafe)),) if c.unsafe else (),
        promise=w("promise_shared" if c.privacy.shares_noise else "promise", unit=unit),
        facts=(
            (w("job"), c.job_id),
            (w("task"), c.task),
            (w("base"), c.base_name),
            (w("strategy"), w("strategy_rounds", strategy=c.strategy, rounds=c.rounds)),
            (w("unit"), unit),
            (w("clip"), f"{c.privacy.clip_norm_l2:g} ({c.privacy.clipping.rule})"),
            (w("sent"), _sent(c, language)),
            *(((w("assumes"), assumption_of(c, language)),) if c.privacy.shares_noise else ()),
            (w("created"), c.created),
            (w("code"), f"concordat {c.code_version}"),
        ),
        table_heading=w("institutions"),
        table=_table(c, language),
        notes=tuple(notes),
        sections=(
            Section(heading=w("events"), facts=tuple(f for s in c.spends for f in _spend(s, language))),
            Section(
                heading=w("covered_not"),
                facts=tuple(
                    ("", not_covered(n, c.not_covered[n], language)) for n in sorted(c.not_covered, key=_place)
                ),
            ),
            Section(
                heading=w("digests"),
                facts=(
                    (w("base_digest"), c.base_digest),
                    (w("schema_digest"), c.schema_digest),
                    (w("plan_digest"), c.plan_digest),
                    (w("state_digest"), c.state_digest),
                    (w("digest"), c.digest),
                ),
            ),
            Section(heading=w("signatures"), facts=tuple(signers)),
            Section(heading=w("verify"), facts=(("", w("how")),)),
        ),
    )


def assumption_of(certificate: Certificate, language: Language) -> str:
    """What the figures assume of the institutions; empty where each adds the whole noise itself."""
    honest, sums = certificate.privacy.honest_minimum, certificate.sums
    if honest is None or sums is None:
        return ""
    words = "margin" if sums.colluders else "margin_none"
    margin = word(words, language, threshold=sums.threshold, colluders=sums.colluders)
    return assumption(honest, language) + (" " if language == "en" else "") + margin


def _sent(certificate: Certificate, language: Language) -> str:
    """What left an institution, and who could see it."""
    sent, sums = word("sent_joint" if certificate.joint else "sent_local", language), certificate.sums
    if sums is None:
        return word("in_clear", language, sent=sent)
    numbers = {"threshold": sums.threshold, "parties": sums.parties, "colluders": sums.colluders}
    return word("masked", language, sent=sent, **numbers)


def _table(certificate: Certificate, language: Language) -> tuple[tuple[str, ...], ...]:
    """Headings, then one row for each institution."""
    names = ("institution", "epsilon", "epsilon_job", "recomputed", "delta", "audited", "rounds", "attested")
    rows = [tuple(word(n, language) for n in names)]
    for s in certificate.spends:
        attested = certificate.attestation(s.institution) is not None
        rows.append(
            (
                s.institution,
                _figure(s.epsilon, language),
                _figure(s.epsilon_job, language),
                _figure(certificate.recomputed(s.institution), language),
                f"{s.delta:g}",
                _audited(s, language),
                str(certificate.contributors.get(s.institution, 0)),
                word("yes" if attested else "no", language),
            )
        )
    return tuple(rows)


def _spend(spend: PrivacySpend, language: Language) -> list[Pair]:
    """What an institution released and how, one fact a line."""
    events = [_event(e, language) for e in spend.events] or [word("nothing", language)]
    named = [(spend.institution, line) for line in events]
    for name in ("accountant", "noise_source", "sampling_source"):
        said = str(getattr(spend, name))
        if name == "noise_source" and spend.honest_minimum is not None:
            said += f" ({word('shared', language, honest=spend.honest_minimum)})"
        named.append(("", f"{word(name, language)}: {said}"))
    return named


def _event(event: DpEvent, language: Language) -> str:
    """One event in words."""
    text = word(
        "event",
        language,
        steps=f"{event.steps:,}",
        released=word(event.released, language),
        sampler=word(event.sampler, language),
        rate=f"{event.sampling_rate:.4g}",
        noise=f"{event.noise_multiplier:.4g}",
    )
    for name, noise in event.also:
        text += word("also", language, name=name, noise=f"{noise:.4g}")
    if event.batch_limit is not None:
        text += word("limits", language, batch=f"{event.batch_limit:,}", units=f"{event.largest_units:,}")
    return text


def _audited(spend: PrivacySpend, language: Language) -> str:
    """The audited lower bound with its confidence."""
    if spend.audited_epsilon is None:
        return word("none", language)
    if spend.audit_confidence is None:
        return f"{spend.audited_epsilon:.3f}"
    confidence = f"{100 * spend.audit_confidence:.3g}" if spend.audit_confidence < 0.999 else ">99.9"
    return word("at", language, value=f"{spend.audited_epsilon:.3f}", confidence=confidence)


def _place(name: str) -> tuple[int, str]:
    """Where a sentence about what is not covered stands; unknown ones come last."""
    known = list(NOT_COVERED)
    return (known.index(name) if name in known else len(known), name)


def _figure(value: float, language: Language) -> str:
    return f"{value:.3f}" if math.isfinite(value) else word("infinite", language)


def _fingerprint_of(certificate: Certificate) -> str:

    return PublicIdentity(certificate.coordinator).fingerprint
