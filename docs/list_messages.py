"""Print what the package says to a user: `python docs/list_messages.py [errors|warnings|help]`.

Errors, warnings and help texts by file and line, for reading them as a list: does each say what is
wrong, what was received, and what to do?
"""

import argparse
import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PLACES = ("rim_lensing", "train")


def text_of(node: ast.AST) -> str:
    """Return a string of the source, what is filled in as {...}; "" if there is none."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(
            part.value if isinstance(part, ast.Constant) else "{" + ast.unparse(part.value) + "}"
            for part in node.values
        )
    if isinstance(node, ast.BinOp):
        return text_of(node.left) + text_of(node.right)
    return ""


def messages(path: Path) -> Iterator[tuple[str, int, str]]:
    """Yield kind, line and text of a file's messages."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            kind, arguments = "errors", node.exc.args
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("warnings.warn", "_warn"):
            kind, arguments = "warnings", node.args
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(
            ("add_argument", "add_parser", "add_argument_group", "parser.error")
        ):
            said = [each.value for each in node.keywords if each.arg in ("help", "description")]
            kind, arguments = "help", [*node.args[:1], *said]
        else:
            continue
        text = " ".join(" ".join(text_of(each).split()) for each in arguments[:2]).strip()
        if text:
            yield kind, node.lineno, text


def main() -> None:
    """Print them."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("kind", nargs="?", choices=("errors", "warnings", "help"))
    wanted = parser.parse_args().kind
    for place in PLACES:
        for path in sorted((ROOT / place).rglob("*.py")):
            for kind, line, text in messages(path):
                if wanted in (None, kind):
                    print(f"{path.relative_to(ROOT)}:{line} [{kind}] {text}")


if __name__ == "__main__":
    main()
