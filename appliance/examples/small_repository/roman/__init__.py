"""Numbers in Roman numerals."""

_SIGNS = {
    "M": 1000,
    "CM": 900,
    "D": 500,
    "CD": 400,
    "C": 100,
    "XC": 90,
    "L": 50,
    "XL": 40,
    "X": 10,
    "IX": 9,
    "V": 5,
    "IV": 4,
    "I": 1,
}


def written(number: int) -> str:
    """The numeral of a number from 1 to 3999. Raises ValueError for others."""
    if not 1 <= number <= 3999:
        raise ValueError(f"not from 1 to 3999: {number}")
    numeral = ""
    for sign, value in _SIGNS.items():
        while number >= value:
            numeral += sign
            number -= value
    return numeral


def value(numeral: str) -> int:
    """The number of a numeral. Raises ValueError for anything that :func:`written` never writes."""
    rest = numeral
    number = 0
    for sign, amount in _SIGNS.items():
        while rest.startswith(sign):
            number += amount
            rest = rest[len(sign) :]
    if rest or not numeral or number > 3999 or written(number) != numeral:
        raise ValueError(f"not a Roman numeral: {numeral!r}")
    return number
