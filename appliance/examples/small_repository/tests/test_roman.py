"""Roman numerals, there and back."""

import unittest

import roman


class RomanTest(unittest.TestCase):
    def test_known_numerals_are_written(self) -> None:
        for number, numeral in {1: "I", 4: "IV", 9: "IX", 14: "XIV", 1994: "MCMXCIV", 3999: "MMMCMXCIX"}.items():
            self.assertEqual(roman.written(number), numeral)

    def test_every_number_comes_back(self) -> None:
        for number in range(1, 4000):
            self.assertEqual(roman.value(roman.written(number)), number)

    def test_numbers_out_of_range_are_refused(self) -> None:
        for number in (-1, 0, 4000):
            with self.assertRaises(ValueError):
                roman.written(number)

    def test_other_texts_are_refused(self) -> None:
        for text in ("", "IIII", "VX", "IM", "abc", "MMMM"):
            with self.assertRaises(ValueError):
                roman.value(text)


if __name__ == "__main__":
    unittest.main()
