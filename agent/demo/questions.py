"""Questions of the live demo, with answers that a program can check.

Each kind of question has two levels. The harder questions have larger numbers or rarer words, and are worded in another
way. Pure: the seed determines the questions.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Level = Literal["easy", "harder"]
LEVELS: tuple[Level, ...] = ("easy", "harder")

KINDS: Mapping[Level, tuple[str, ...]] = {
    "easy": ("add", "capital", "mul", "past", "unit"),
    "harder": ("add", "capital", "mul", "past", "plural", "unit"),
}
"""The kinds of each level; each is a domain. One appears with the hard questions."""

EXAMPLES: Mapping[str, tuple[str, str]] = {
    "add": ("What is 12 + 5?", "12 + 5 = 17"),
    "capital": ("What is the capital of Egypt?", "The capital of Egypt is Cairo."),
    "mul": ("What is 3 times 5?", "3 x 5 = 15"),
    "past": ('What is the past tense of "walk"?', "Today I walk, yesterday I walked."),
    "plural": ('What is the plural of "car"?', "One car, two cars."),
    "unit": ("How many hours are in 2 days?", "2 days = 2 x 24 hours = 48 hours"),
}
"""A solved question of each kind, with which its prompts begin."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question, the domain that it belongs to, and its only right answer: a number or a word."""

    domain: str
    text: str
    answer: str


def make_questions(level: Level, n_each: int, rng: random.Random) -> list[Question]:
    """Make ``n_each`` questions of every kind of the level, in random order; a third of the hard ones are easy.

    >>> for question in make_questions("easy", 1, random.Random(0)):
    ...     print(question.domain, "|", question.text, "|", question.answer)
    past | What is the past tense of "call"? | called
    add | What is 14 + 15? | 29
    unit | How many centimeters are in 5 meters? | 500
    capital | What is the capital of Italy? | Rome
    mul | What is 6 times 9? | 54
    """
    made = [_MAKERS[kind](level if i % 3 else "easy", rng) for kind in KINDS[level] for i in range(n_each)]
    rng.shuffle(made)
    return made


def is_right(question: Question, text: str) -> bool:
    """Whether an answer is right: its last number is the right one, or the right word is in it.

    >>> is_right(Question("add", "What is 2 + 3?", "5"), "2 + 3 = 5")
    True
    >>> is_right(Question("add", "What is 2 + 3?", "5"), "2 + 3 = 15")
    False
    >>> is_right(Question("past", 'What is the past tense of "go"?', "went"), "Today I go, yesterday I Went.")
    True
    """
    if question.answer.isdigit():
        numbers = re.findall(r"\d+(?:\.\d+)?", re.sub(r"(?<=\d),(?=\d{3})", "", text))
        return bool(numbers) and float(numbers[-1]) == float(question.answer)
    return re.search(rf"\b{re.escape(question.answer)}\b", text, re.IGNORECASE) is not None


def _add(level: Level, rng: random.Random) -> Question:
    largest = 20 if level == "easy" else 400
    a, b = rng.randint(2, largest), rng.randint(2, largest)
    text = f"What is {a} + {b}?" if level == "easy" else f"Compute the sum of {a} and {b}."
    return Question("add", text, str(a + b))


def _mul(level: Level, rng: random.Random) -> Question:
    a, b = rng.randint(2, 9) if level == "easy" else rng.randint(11, 29), rng.randint(2, 9)
    text = f"What is {a} times {b}?" if level == "easy" else f"Find the product of {a} and {b}."
    return Question("mul", text, str(a * b))


def _unit(level: Level, rng: random.Random) -> Question:
    large, small, factor = rng.choice(_UNITS[level])
    n = rng.randint(2, 5) if level == "easy" else rng.randint(3, 12)
    text = f"How many {small} are in {n} {large}?" if level == "easy" else f"Convert {n} {large} to {small}."
    return Question("unit", text, str(n * factor))


def _capital(level: Level, rng: random.Random) -> Question:
    country, city = rng.choice(_CAPITALS[level])
    easy = f"What is the capital of {country}?"
    return Question("capital", easy if level == "easy" else f"Which city is the seat of government of {country}?", city)


def _past(level: Level, rng: random.Random) -> Question:
    verb, past = rng.choice(_VERBS[level])
    easy = f'What is the past tense of "{verb}"?'
    return Question("past", easy if level == "easy" else f"Today I {verb}, yesterday I ...?", past)


def _plural(level: Level, rng: random.Random) -> Question:
    noun, plural = rng.choice(_NOUNS[level])
    easy = f'What is the plural of "{noun}"?'
    return Question("plural", easy if level == "easy" else f"One {noun}, two ...?", plural)


_MAKERS: Mapping[str, Callable[[Level, random.Random], Question]] = {
    "add": _add,
    "capital": _capital,
    "mul": _mul,
    "past": _past,
    "plural": _plural,
    "unit": _unit,
}


def _pairs(text: str) -> list[tuple[str, str]]:
    """The pairs ``a: b`` that a text lists, separated by semicolons."""
    return [(left, right) for left, _, right in (pair.strip().partition(": ") for pair in text.split(";"))]


_Units = Sequence[tuple[str, str, int]]

_UNITS: Mapping[Level, _Units] = {
    "easy": [
        ("hours", "minutes", 60),
        ("minutes", "seconds", 60),
        ("meters", "centimeters", 100),
        ("kilometers", "meters", 1_000),
        ("weeks", "days", 7),
        ("kilograms", "grams", 1_000),
    ],
    "harder": [
        ("yards", "feet", 3),
        ("feet", "inches", 12),
        ("centimeters", "millimeters", 10),
        ("liters", "milliliters", 1_000),
        ("decades", "years", 10),
        ("days", "hours", 24),
        ("gallons", "pints", 8),
    ],
}

_CAPITALS: Mapping[Level, list[tuple[str, str]]] = {
    "easy": _pairs(
        "France: Paris; Italy: Rome; Spain: Madrid; Japan: Tokyo; Germany: Berlin; Russia: Moscow; China: "
        "Beijing; England: London; Greece: Athens; Portugal: Lisbon; Austria: Vienna; Ireland: Dublin; "
        "Norway: Oslo; Sweden: Stockholm; Poland: Warsaw; Hungary: Budapest; Cuba: Havana; Peru: Lima; Kenya: "
        "Nairobi; Canada: Ottawa; Turkey: Ankara; Denmark: Copenhagen; Finland: Helsinki; Thailand: Bangkok; "
        "Iraq: Baghdad"
    ),
    "harder": _pairs(
        "Australia: Canberra; Bhutan: Thimphu; Bolivia: Sucre; Burkina Faso: Ouagadougou; Kazakhstan: Astana; "
        "Laos: Vientiane; Malawi: Lilongwe; Mongolia: Ulaanbaatar; Myanmar: Naypyidaw; Namibia: Windhoek; "
        "Nepal: Kathmandu; New Zealand: Wellington; Nigeria: Abuja; Oman: Muscat; Slovenia: Ljubljana; Sri "
        "Lanka: Colombo; Tanzania: Dodoma; Uganda: Kampala; Uruguay: Montevideo; Uzbekistan: Tashkent; "
        "Zambia: Lusaka; Zimbabwe: Harare; Latvia: Riga; Estonia: Tallinn; Morocco: Rabat; Senegal: Dakar; "
        "Ecuador: Quito; Armenia: Yerevan; Georgia: Tbilisi"
    ),
}

_VERBS: Mapping[Level, list[tuple[str, str]]] = {
    "easy": _pairs(
        "play: played; clean: cleaned; open: opened; jump: jumped; cook: cooked; look: looked; talk: talked; "
        "help: helped; visit: visited; paint: painted; watch: watched; start: started; call: called; ask: "
        "asked; work: worked; go: went; eat: ate; see: saw; run: ran; make: made; say: said; come: came; "
        "take: took; write: wrote; sing: sang"
    ),
    "harder": _pairs(
        "fight: fought; seek: sought; teach: taught; catch: caught; bring: brought; buy: bought; think: "
        "thought; freeze: froze; steal: stole; weave: wove; swear: swore; tear: tore; bear: bore; strive: "
        "strove; forbid: forbade; sink: sank; shrink: shrank; swim: swam; cling: clung; dig: dug; feed: fed; "
        "flee: fled; lend: lent; kneel: knelt; slay: slew; grind: ground; bind: bound; forsake: forsook; "
        "hide: hid; shake: shook"
    ),
}

_NOUNS: Mapping[Level, list[tuple[str, str]]] = {
    "easy": _pairs("dog: dogs; book: books; box: boxes; city: cities; baby: babies; glass: glasses; tree: trees"),
    "harder": _pairs(
        "leaf: leaves; wolf: wolves; knife: knives; woman: women; man: men; child: children; tooth: teeth; "
        "foot: feet; mouse: mice; goose: geese; ox: oxen; crisis: crises; cactus: cacti; alumnus: alumni; "
        "thief: thieves; loaf: loaves; bus: buses; church: churches; story: stories; hero: heroes; radio: "
        "radios; window: windows; lady: ladies"
    ),
}
