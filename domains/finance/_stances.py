"""Which way a passage decides a matter: permitted, denied, required, excluded.

A **stance** is a wording of one sentence that settles a question which clauses on confidentiality, use of data
and conduct often ask. Written from general knowledge of such agreements; a classifier learns what each is worth.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["MATTERS", "STANCES", "Matter", "matter_of", "stances_of"]

_MAY = (
    r"(?:\bmay\b(?! not)|entitled to|right to|permitted to|allowed to|authori[sz]ed to"
    r"|except(?:ion)?\b|other than|\bunless\b)"
)
_NOT = r"(?:\bnot\b|\bno\b|\bnever\b|neither|nor\b|without|prohibited|refrain)"
_QUIET = (
    r"(?![^.;]{0,80}(?:\bin (?:\w+ )?(?:confidence|trust)\b|\bsecret\b|\bminds?\b|\bmemor"
    r"|\bconfidential\b(?!\W+(?:information|material|data|document|record|cop))))"
)
"""Not to keep confidential, secret or in mind."""
_KEEP = rf"\b(?:retain|retention|keep|kept|archiv|back-?up)\w*\b(?! by\b){_QUIET}"
"""To hold on to a thing."""
_GIVE = r"(?:return|destroy|destruct|delet|eras|surrender|deliver)\w*"
_COPIES = r"(?:\bcop(?:y|ies)\b|reproductions?\b|duplicates?\b|\bextracts?\b)"
_MAKE = (
    r"(?:(?:(?<=\bto\s)|(?<=\bnot\s)|(?<=\bor\s)|(?<=\bnor\s)|(?<=\band\s)|(?<=,\s))copy\b|\bcopied\b|\bcopying\b|photocop\w+|(?:make|made|making|take"
    r"|taking)[^.;]{0,40}cop(?:y|ies)|such copies|reproduc\w+|duplicat\w+)"
)
_STRICT = (
    r"(?:(?:shall|must|will|may|can|should|agrees?|undertakes?|covenants?)\b(?:\W+\w+){0,3}?\W+(?:not"
    r"|never|neither|refrain)\b|\bnot to\b|(?:it|recipient|party) (?:will|shall) not|prohibited from"
    r"|shall be no\b|\bno\b(?:\W+\w+){0,6}\W+(?:shall|may|will|must)\b)"
)
_NO_COPIES = r"\bno (?:\w+ ){0,3}(?:cop(?:y|ies)|reproductions?)\b[^.;]{0,80}\b(?:made|taken|permitted|allowed)\b"
_CONSENT = r"(?:consent|approval|permission|authori[sz]ation)\b"
_RESIDUAL = (
    r"(?:\bresiduals\b|\bresidual (?:information|knowledge|memory|ideas)"
    r"|\b(?:retain|remember|remain)\w*[^.;]{0,40}\b(?:minds?|memory|memories)\b)"
)
"""What people keep in mind of what they saw: some agreements let them use it."""
_FREE = r"\b(?:free|right|may|entitle|restrict|prevent|prohibit|preclud|limit)\w*"
_ADVISERS = (
    r"(?:advis[eo]rs?|consultants?|agents?|sub-?contractors?|contractors?|representatives|attorneys"
    r"|counsel|accountants|affiliates|lenders)"
)
_SHARE = r"(?:disclos|divulg|reveal|furnish|provid|communicat|disseminat|transmit|make available|access)\w*"
_THIRD = r"(?:third part\w+|(?:any )?other (?:person|part\w+|entit\w+)|anyone|any (?:person|entity)|others)"
_BARRED = (
    rf"(?!.*(?:except|unless|other than|only|need[ -]to|solicit)).*(?:{_STRICT}|refrain|prohibited)[^.;]{{0,80}}"
    rf"{_SHARE}[^.;]{{0,120}}\bto\b[^.;]{{0,120}}{_ADVISERS}"
)
"""A passage that names advisers among those who may not see it."""
_INFO = r"(?:confidential|proprietary|evaluation|protected|such)[ -]?(?:information|material)?"
_BUSINESS = (
    r"\b(?:financ\w+|market(?:ing|s)?|commercial|pric(?:es?|ing)|strateg\w+|business(?:es)?|customers?|clients?|costs?"
    r"|sales|suppliers?|vendors?|personnel)\b"
)
_TECHNICAL = (
    r"(?:technical|technolog\w+|engineering|know-?how|formula\w*|software|designs?|drawings?|inventions?|processes)"
)

_RAW: Mapping[str, str] = {
    "keep-allowed": rf"{_MAY}[^.;]{{0,120}}{_KEEP}|{_KEEP}[^.;]{{0,60}}(?:one|a|archiv\w+|single) (?:\w+ )?cop"
    rf"|{_KEEP}[^.;]{{0,120}}(?:required by|compliance|regulat|law|polic)",
    "keep-denied": rf"{_NOT}\W+(?:\w+\W+){{0,6}}{_KEEP}|{_KEEP} no|no cop(?:y|ies)[^.;]{{0,40}}(?:retain|kept)"
    rf"|expunge|permanently (?:delet|eras|destroy|remov)|(?:delet|eras|destroy|remov)\w* permanently",
    "give-back": rf"(?:shall|must|will|agree\w*|undertak\w*|promptly|immediately|to)\b[^.;]{{0,80}}\b{_GIVE}[^.;"
    rf"]{{0,160}}(?:cop|information|material|document|record|product|it\b)|{_INFO}[^.;"
    rf"]{{0,160}}(?:shall|must|will)[^.;]{{0,40}}{_GIVE}",
    "give-all-back": rf"{_GIVE}[^.;]{{0,120}}\b(?:all|any|every)\b[^.;]{{0,120}}(?:cop|information|material"
    rf"|document|record)",
    "copies-given-back": rf"{_GIVE}[^.;]{{0,200}}\b(?:all|any|every|each|including|together|and)\b[^.;"
    rf"]{{0,40}}{_COPIES}|\b(?:all|any|every|each)\b[^.;]{{0,40}}{_COPIES}[^.;]{{0,160}}{_GIVE}",
    "give-on-request": rf"(?:request|demand)\w*[^.;]{{0,160}}{_GIVE}|{_GIVE}[^.;]{{0,160}}(?:request|demand)",
    "give-at-end": rf"(?:terminat|expir|complet|conclu|cessat|end of)\w*[^.;]{{0,160}}{_GIVE}|{_GIVE}[^.;"
    rf"]{{0,160}}(?:terminat|expir|complet|conclu|cessat|end of)",
    "copy-allowed": rf"{_MAY}[^.;]{{0,80}}{_MAKE}|{_MAKE}[^.;]{{0,160}}(?:necessary|reasonabl|legend|notices?"
    rf"|strictly)|(?:except|only|limit\w*)[^.;]{{0,60}}{_MAKE}",
    "copy-denied": rf"{_STRICT}[^.;]{{0,160}}{_MAKE}|{_MAKE}[^.;]{{0,80}}(?:prohibited|not permitted)|{_NO_COPIES}",
    "copy-flatly-denied": rf"\A(?!.*(?:necessary|\bonly\b|notices?|legend|in order to)).*"
    rf"(?:{_STRICT}[^.;]{{0,160}}{_MAKE}|{_NO_COPIES})",
    "copy-with-consent": rf"(?:{_STRICT}[^.;]{{0,160}}{_MAKE}|{_NO_COPIES}).{{0,200}}{_CONSENT}"
    rf"|\b(?:without|unless|except with)\b[^.;]{{0,60}}{_CONSENT}[^.;]{{0,160}}{_MAKE}",
    "share-with-advisers": rf"{_SHARE}[^.;]{{0,200}}{_ADVISERS}|{_ADVISERS}[^.;]{{0,120}}(?:need[ -]to[ -]know|need to"
    rf"|who|bound)",
    "share-with-staff": rf"{_SHARE}[^.;]{{0,160}}(?:employees|officers|directors|staff|personnel|members)",
    "staff-only": rf"only[^.;]{{0,60}}(?:to|with|by)[^.;]{{0,40}}(?:employees|employed)(?![^.;]{{0,160}}{_ADVISERS})",
    "share-denied": rf"{_NOT}[^.;]{{0,60}}{_SHARE}[^.;]{{0,160}}{_THIRD}",
    "share-flatly-denied": rf"\A(?!.*(?:except|unless|other than|{_ADVISERS})).*{_STRICT}[^.;]{{0,80}}{_SHARE}[^.;"
    rf"]{{0,160}}{_THIRD}",
    "advisers-allowed": rf"\A(?!{_BARRED})(?!.*(?:witness whereof|duly authori[sz]ed|solicit)).*(?:(?:{_SHARE}"
    rf"|limit\w*|restrict\w*|except|other than|only|availab\w+)[^.;]{{0,160}}\b(?:to|among|with)\b[^.;"
    rf"]{{0,80}}\b(?:its|their|his|her|your|our|part(?:y|ies)['’]s?|recipient['’]s)\b[^.;"
    rf"]{{0,160}}{_ADVISERS}|\bto\b[^.;]{{0,30}}\b(?:its|their|his|your|our)\b[^.;"
    rf"]{{0,120}}{_ADVISERS}|(?:limited|restricted) to[^.;]{{0,60}}{_ADVISERS}|\b(?:its|their|his"
    rf"|her|your|our)\b[^.;]{{0,80}}{_ADVISERS}[^.;]{{0,80}}(?:need[ -]to[ -]know|need to|needs to"
    rf"|who (?:are|is|have|agree)|bound))",
    "advisers-denied": rf"\A{_BARRED}",
    "share-with-consent": rf"{_SHARE}[^.;]{{0,200}}(?:prior|written|express)[^.;]{{0,20}}(?:consent|approval|permission"
    rf"|authori)",
    "mark-needed": r"(?:must|shall|will|(?:is|are|be|been|was)|if)\b[^.;]{0,60}(?:marked|labell?ed|designated"
    r"|identified|stamped)[^.;]{0,60}(?:confidential|proprietary|writing)|(?:confirm|summar"
    r"|reduc)\w+[^.;]{0,20}(?:in|to) writing",
    "mark-not-needed": r"(?:whether or not|regardless (?:of )?(?:whether|if)|irrespective|even if|need not)[^.;"
    r"]{0,40}(?:marked|labell?ed|designated|identified|confidential)|(?:should|would|ought"
    r"|could)[^.;]{0,30}reasonabl\w+|reasonabl\w+[^.;]{0,30}(?:understood|consider\w*|know\w*"
    r"|regard\w*|believe|apparent)|(?:by|given|due to) (?:its|the|their) nature|(?<!confidential "
    r")nature of the (?:information|circumst|disclos)|clearly intended|deemed (?:to be "
    r")?(?:confidential|proprietary)|circumstances (?:of|surrounding) (?:the |its |such )?disclos"
    r"|(?:regardless|irrespective|even though|not (?:be )?(?:required|necessary|needed)|fail(?:s|ed|ure)?|absence"
    r"|lack|without)\b[^.;]{0,30}\b(?:mark(?:ed|ing|s)?\b|label|legend|designat|identif)",
    "defined-business": rf"\A(?=.*(?:information|material|secret)).*(?:non-?technical|{_BUSINESS} (?:\w+ )?(?:data"
    rf"|information|records?|plans?|affairs|practices|methods|lists?|condition|projections|statements|sources)"
    rf"|{_BUSINESS}(?:\W+\w+){{0,5}}\W+{_BUSINESS})",
    "defined-technical": rf"{_INFO}[^.]{{0,400}}{_TECHNICAL}",
    "defined-any": r"(?:all|any)[^.;]{0,40}(?:information|data)[^.;]{0,120}(?:disclos|provid|furnish|relat)\w*",
    "oral-included": r"(?:oral|verbal|visual|spoken)\w*[^.;]{0,160}|in (?:any|whatever|written or) (?:form|medium"
    r"|other)",
    "oral-needs-writing": r"(?:oral|verbal)\w*[^.;]{0,200}(?:writing|written|confirm|summar|reduced)",
    "no-right-granted": rf"{_NOT}[^.;]{{0,120}}(?:licen[sc]e|right|title|interest|grant|transfer|convey)\w*|remain[^.;"
    rf"]{{0,40}}(?:property|owned)|(?:property|owner\w*) of (?:the )?(?:disclos|own|company|its)\w*",
    "survives": r"(?:obligation|provision|duty|duties|clause|section|paragraph|restriction|confidential"
    r"|agreement|terms)[^.;]{0,200}(?:surviv|continu|remain|perpetu|indefinite)\w*|surviv\w+[^.;"
    r"]{0,80}(?:terminat|expir)|(?:period|term)[^.;]{0,60}(?:years?|months?)[^.;]{0,60}(?:after"
    r"|from|following)",
    "own-work-free": r"independent(?:ly)?[^.;]{0,80}(?:develop|creat|conceiv|generat|discover|deriv)\w*|(?:develop"
    r"|creat|conceiv)\w*[^.;]{0,120}(?:independent|without)",
    "other-source-free": r"(?:receiv|obtain|acquir|learn|disclos|available|known)\w*[^.;]{0,120}(?:third part\w+"
    r"|another|other than|other source)",
    "notice-if-compelled": r"(?:requir|compel|oblig|order|demand|subpoena|process)\w*[^.]{0,300}(?:notify|notice|notif"
    r"|inform|advise|protective order)|(?:notify|notice|inform)[^.]{0,200}(?:subpoena|court"
    r"|compel|required|legal)",
    "compelled-free": r"(?:required|compelled|ordered|pursuant)[^.;]{0,60}(?:law|court|order|regulat|subpoena|legal"
    r"|judicial|government)",
    "hidden-agreement": rf"{_NOT}[^.;]{{0,160}}(?:existence|fact|terms|status|contents?|nature|subject)[^.;"
    rf"]{{0,100}}(?:agreement|discussion|negotiation|transaction|relationship|project)"
    rf"|{_INFO}[^.]{{0,300}}(?:existence|terms|fact)[^.;]{{0,60}}(?:agreement|discussion"
    rf"|negotiation)",
    "no-publicity": rf"{_NOT}[^.;]{{0,120}}(?:press|public\w*|announce\w*|advertis\w*|name)",
    "residuals-free": rf"{_FREE}[^.;]{{0,160}}{_RESIDUAL}|{_RESIDUAL}[^.;]{{0,160}}{_FREE}",
    "no-reverse": rf"{_NOT}[^.;]{{0,200}}(?:revers\w+|decompil\w+|disassembl\w+|analy[sz]e)",
    "no-solicit": rf"{_NOT}[^.;]{{0,160}}(?:solicit|hire|employ (?:any|or)|entice|recruit|induce)\w*",
    "purpose-only": rf"{_NOT}[^.;]{{0,80}}\bus(?:e|ed|ing)\b[^.;]{{0,160}}(?:purpose|other than|except|benefit)"
    rf"|\bus(?:e|ed|ing)\b[^.;]{{0,120}}(?:only|solely|exclusively|for the)[^.;]{{0,60}}purpose"
    rf"|(?:only|solely|exclusively)[^.;]{{0,60}}(?:purpose|evaluat|connection)",
}
STANCES: Mapping[str, re.Pattern[str]] = {name: re.compile(p, re.IGNORECASE | re.DOTALL) for name, p in _RAW.items()}
"""Name of a stance -> how it is worded within one passage."""


def stances_of(text: str) -> frozenset[str]:
    """The stances that a passage takes."""
    return frozenset(name for name, pattern in STANCES.items() if pattern.search(text))


@dataclass(frozen=True, kw_only=True)
class Matter:
    """A question that clauses ask, and the stances that answer it."""

    name: str
    clause: re.Pattern[str]
    supports: tuple[str, ...]
    denies: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    """Stances that matter without deciding."""

    @property
    def stances(self) -> tuple[str, ...]:
        """All of them."""
        return self.supports + self.denies + self.beside


def _matter(name: str, clause: str, supports: str, denies: str = "", beside: str = "") -> Matter:
    return Matter(
        name=name,
        clause=re.compile(clause, re.IGNORECASE),
        supports=tuple(supports.split()),
        denies=tuple(denies.split()),
        beside=tuple(beside.split()),
    )


MATTERS = (
    _matter("reverse", r"revers\w+ engineer|decompil|disassembl", "no-reverse"),
    _matter("keep", r"\b(?:retain|keep|possess)", "keep-allowed", "keep-denied copies-given-back", "give-all-back"),
    _matter("give-back", r"\b(?:return|destroy)", "give-at-end", "", "give-all-back give-on-request"),
    _matter("oral", r"oral|verbal|spoken", "oral-included oral-needs-writing", "", "defined-any"),
    _matter(
        "marking",
        r"(?:expressly|clearly|explicitly) (?:identif|mark|designat)|\bmarked\b",
        "mark-needed oral-needs-writing",
        "mark-not-needed",
        "defined-any",
    ),
    _matter("technical", r"technical", "defined-technical", "defined-business", "defined-any"),
    _matter("survival", r"surviv|after (?:the )?(?:termination|end) of", "survives"),
    _matter("own-work", r"independent\w* (?:develop|creat)", "own-work-free"),
    _matter("other-source", r"(?:acquir|receiv(?!ing part)|obtain)\w*[^.]*third part", "other-source-free"),
    _matter("solicit", r"solicit|hire|entice", "no-solicit"),
    _matter(
        "copy", r"\bcop(?:y|ies)\b|reproduc", "copy-allowed", "copy-flatly-denied copy-with-consent", "copy-denied"
    ),
    _matter(
        "compelled",
        r"required by (?:law|regulat|judic)|legal process|compelled",
        "notice-if-compelled",
        "",
        "compelled-free",
    ),
    _matter("staff", r"(?:share|disclos)\w*[^.]*employees", "share-with-staff", "", "staff-only share-flatly-denied"),
    _matter(
        "advisers",
        r"(?:share|disclos)\w*[^.]*(?:third part|consultant|advis|agent)",
        "advisers-allowed",
        "staff-only share-flatly-denied advisers-denied",
    ),
    _matter(
        "hidden", r"(?:fact that|existence)[^.]*(?:agree|negotiat|discuss)", "hidden-agreement", "", "no-publicity"
    ),
    _matter("license", r"grant|licen[sc]e|any right", "no-right-granted"),
    _matter("purpose", r"\buse\b[^.]*purpose", "purpose-only", "residuals-free"),
)
"""The first whose clause fits counts."""


def matter_of(clause: str) -> Matter | None:
    """What a clause asks; None where it is none of these."""
    return next((m for m in MATTERS if m.clause.search(clause)), None)
