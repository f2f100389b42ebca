"""The characters that people and programs put between the digits of a phone number."""

from __future__ import annotations

from typing import Final

DASHES: Final = "-\u00ad\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d"
BRACKETS: Final = "()[]\uff08\uff09\uff3b\uff3d"
DOTS_AND_SLASHES: Final = "./\uff0e\uff0f"
# Unicode's category Zs.
BLANKS: Final = (
    " \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u202f\u205f\u3000"
)
# Zero-width and direction marks: phones and chat programs put them around a number they copy.
INVISIBLE: Final = (
    "\u061c\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e"
    "\u2060\u2066\u2067\u2068\u2069\ufeff"
)
UNSEEN: Final = dict.fromkeys(map(ord, INVISIBLE))
