import pytest

from rim_lensing.files.whole_files import whole_file


def test_a_file_appears_at_the_end(tmp_path):
    path = tmp_path / "chain.weights.h5"
    with whole_file(path) as temporary:
        temporary.write_text("new")
        assert not path.exists() and temporary.name.endswith(".weights.h5")
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_what_was_there_survives_an_error(tmp_path, error):
    path = tmp_path / "table.md"
    path.write_text("old")
    with pytest.raises(error), whole_file(path) as temporary:
        temporary.write_text("half")
        raise error
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
