"""Every string that people see is fully translated, and the compiled catalogues are up to date."""

from __future__ import annotations

import ast
import gettext
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from babel.messages.pofile import read_po
from django.template.base import Lexer, TokenType
from django.utils import translation

from tests.operators import url

PACKAGE = Path(__file__).resolve().parent.parent / "django_ciam_token"
LANGUAGES = ("de", "zh_Hans")
# The functions that mark strings, by the names under which this project imports them, and the arguments
# that they mark.
MARKERS = {"_": 1, "gettext": 1, "gettext_lazy": 1, "ngettext": 2}


def python_strings():
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in MARKERS:
                marked = node.args[: MARKERS[node.func.id]]
                # Scope descriptions are the site's own strings.
                if all(isinstance(argument, ast.Constant) for argument in marked):
                    yield from (argument.value for argument in marked)


def template_strings():
    for path in PACKAGE.rglob("*.html"):
        parts, plural = None, []
        for token in Lexer(path.read_text(encoding="utf-8")).tokenize():
            command = token.contents.split(maxsplit=1)[0] if token.contents.split() else ""
            if token.token_type == TokenType.BLOCK and command == "translate":
                yield ast.literal_eval(re.match(r"""translate\s+("[^"]*"|'[^']*')""", token.contents)[1])
            elif token.token_type == TokenType.BLOCK and command == "blocktranslate":
                parts, plural = [], []
            elif token.token_type == TokenType.BLOCK and command == "plural":
                parts, plural = [], parts
            elif token.token_type == TokenType.BLOCK and command == "endblocktranslate":
                yield from ("".join(texts) for texts in (plural, parts) if texts)
                parts = None
            elif parts is not None:
                is_variable = token.token_type == TokenType.VAR
                parts.append(f"%({token.contents})s" if is_variable else token.contents)


def catalogue(language):
    path = PACKAGE / "locale" / language / "LC_MESSAGES" / "django.po"
    with path.open("rb") as file:
        return read_po(file)


def strings_of(message):
    return message.id if isinstance(message.id, tuple) else (message.id,)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_catalogue_has_every_string_and_no_other(language):
    used = {*python_strings(), *template_strings()}
    listed = {text for message in catalogue(language) if message.id for text in strings_of(message)}

    assert used - listed == set(), "not in the catalogue: run makemessages and translate"
    assert listed - used == set(), "in the catalogue but no longer used"
    assert len(used) > 200


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_string_is_translated_with_the_same_placeholders(language):
    for message in catalogue(language):
        if not message.id:
            continue
        texts = message.string if isinstance(message.string, tuple) else (message.string,)
        assert all(texts), f"not translated: {message.id}"
        assert "fuzzy" not in message.flags, message.id
        for text in texts:
            # A plural form may leave out the number, and nothing else.
            wanted = set(placeholders(strings_of(message)[-1]))
            assert set(placeholders(text)) in (wanted, wanted - {"count", "days"}), text


def placeholders(text):
    return [part.partition(")")[0] for part in text.split("%(")[1:]]


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_compiled_catalogue_is_up_to_date(language):
    folder = PACKAGE / "locale" / language / "LC_MESSAGES"
    with (folder / "django.mo").open("rb") as file:
        compiled = gettext.GNUTranslations(file)

    for message in catalogue(language):
        if not message.id:
            continue
        first = strings_of(message)[0]
        if isinstance(message.id, tuple):
            assert compiled.ngettext(*message.id, 2) == message.string[-1]
        else:
            assert compiled.gettext(first) == message.string


@pytest.mark.parametrize(("language", "folder"), [("de", "de"), ("zh-hans", "zh_Hans")])
def test_no_string_stays_english_because_django_has_the_same_one(language, folder):
    with translation.override(language):
        english = [
            message.id
            for message in catalogue(folder)
            if message.id
            and not isinstance(message.id, tuple)
            and message.string != message.id == translation.gettext(message.id)
        ]

    assert english == []


@pytest.mark.parametrize(
    ("language", "text"), [("de", "Überall abmelden"), ("zh-hans", "在所有设备上退出登录")]
)
def test_the_pages_are_in_the_language_of_the_operator(operator, user, language, text):
    with translation.override(language):
        page = operator.get(
            url("refreshtoken_sign_out", user.pk), headers={"accept-language": language}
        ).content.decode()

    assert text in page


class _Words(HTMLParser):
    """The words in a template: its text, and the attributes that are shown or read aloud."""

    def __init__(self):
        super().__init__()
        self.said, self.within = [], []

    def handle_starttag(self, tag, attributes):
        if tag not in ("input", "link"):
            self.within.append(tag)
        # What a button sends is not shown.
        shown = ("aria-label", "title") if tag == "button" else ("aria-label", "title", "value")
        self.said += [value for name, value in attributes if name in shown and value]

    def handle_endtag(self, tag):
        self.within.pop()

    def handle_data(self, text):
        if "code" not in self.within:
            self.said.append(text)


def test_templates_have_no_unmarked_text():
    for path in PACKAGE.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        text = re.sub(r"{% block bodyclass %}.*?{% endblock %}", "", text)
        text = re.sub(r"{% blocktranslate.*?endblocktranslate %}", "", text, flags=re.DOTALL)
        words = _Words()
        words.feed(re.sub(r"{%.*?%}|{{.*?}}", "", text))
        # Names that are the same in every language.
        said = re.sub(r"client_id|client_secret|yes|\bUTC\b", "", " ".join(words.said))
        found = re.findall(r"[A-Za-z]{2,}", said)
        assert found == [], path.name
