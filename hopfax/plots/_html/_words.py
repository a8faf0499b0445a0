"""Labels with a little mathematics, as HTML and as plain text."""

import html
import re

_GREEK = {
    **{"kappa": "κ", "tau": "τ", "sigma": "σ", "alpha": "α", "rho": "ρ", "gamma": "γ"},
    **{"lambda": "λ", "phi": "φ", "mu": "μ", "nu": "ν", "psi": "ψ", "beta": "β", "xi": "ξ"},
}
_SIGNS = {"to": "→", "infty": "∞", "geq": "≥", "leq": "≤", "max": "max", "min": "min"}
_BELOW = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
_COMMAND = re.compile(r"\\([A-Za-z]+)")
_SPACE = re.compile(r"\\[,;! ]")
_PART = re.compile(r"([_^])(\{[^{}]*\}|\\?[A-Za-z]+|.)")


def as_html(label: str) -> str:
    """A label as HTML: subscripts are lowered, letters in formulas slanted."""
    found = "".join(
        _formula(html.escape(part)) if inside else html.escape(part)
        for part, inside in _parts(label)
    )
    return re.sub("`([^`]+)`", r"<code>\1</code>", found)


def as_text(label: str) -> str:
    """A label as plain text, for what cannot be HTML, such as the labels of axes."""
    return "".join(_flat(part) if inside else part for part, inside in _parts(label))


def _parts(label: str) -> list[tuple[str, bool]]:
    """The parts of a label, and whether each is a formula."""
    return [(part, bool(k % 2)) for k, part in enumerate(label.split("$"))]


def _symbols(text: str) -> str:
    known = _GREEK | _SIGNS
    text = _COMMAND.sub(lambda found: known.get(found[1], found[1]), _SPACE.sub(" ", text))
    return text.replace("'", "′").replace("&#x27;", "′")


def _formula(text: str) -> str:
    def moved(found: re.Match[str]) -> str:
        tag = "sub" if found[1] == "_" else "sup"
        return f"<{tag}>{found[2].strip('{}')}</{tag}>"

    text = _PART.sub(moved, _symbols(text)).replace("{", "").replace("}", "")
    letters = r"(?<![A-Za-z<&/;])([A-Za-zα-ω])(?![A-Za-z>])"
    return re.sub(letters, r"<i>\1</i>", text)


def _flat(text: str) -> str:
    def moved(found: re.Match[str]) -> str:
        inner = found[2].strip("{}")
        if found[1] == "^":
            return inner if inner == "*" else f"^{inner}"
        return inner.translate(_BELOW) if inner.isdigit() else f" {inner}"

    return _PART.sub(moved, _symbols(text)).replace("{", "").replace("}", "")
