"""wordnet: ImageNet's categories by name."""

import pytest

from raydream.data.wordnet import categories
from raydream.errors import UsageError

# As in the seed project's list, where names with commas are one category with several words.
SEED = (
    "altar,viaduct,Roman building,temple,totem pole,windmill,artillery,launcher,atom bomb,shotgun shell,"
    "automatic firearm,revolver,khukuri,broad arrow,helicopter,biplane,stealth fighter,airbus,hot-air balloon,"
    "motor scooter,ambulance,sports car,Model T,jeep,stock car"
)


def test_the_seeds_categories_are_a_list() -> None:
    found = categories("seed")
    assert list(dict.fromkeys(found.values())) == SEED.split(",")
    assert found["n02701002"] == "ambulance"
    assert [wnid for wnid, name in found.items() if name == "temple"] == ["n04407435", "n04407686"]


def test_names_synonyms_ids_and_own_names() -> None:
    assert categories(" banjo, Tiger,six-gun,n01443537,big cat=n02128385 ") == {
        "n02787622": "banjo",
        "n02129604": "Tiger",
        "n04086273": "six-gun",
        "n01443537": "n01443537",
        "n02128385": "big cat",
    }
    assert categories("hot-air_balloon")["n03541923"] == "hot-air_balloon"


def test_a_name_with_several_meanings_asks_which() -> None:
    with pytest.raises(UsageError, match=r"'crane' has several meanings: n02012849 \(crane\), n03126707 \(crane\)"):
        categories("crane")
    assert categories("crane=n03126707") == {"n03126707": "crane"}


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ("baanjo", "did you mean 'banjo'"),
        ("qwxyz", "write qwxyz=ID"),
        ("", "names no category"),
        ("../x=n02128385", "cannot be a class"),
        ("jeep,landrover", "are the same category"),
    ],
)
def test_other_names_are_one_line(names: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as error:
        categories(names)
    assert "\n" not in str(error.value)
