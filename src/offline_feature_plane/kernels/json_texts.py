"""Texts of JSON: read with their escapes, written in their canonical spelling (RFC 8785), and looked at whether they are UTF-8."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from offline_feature_plane.kernels.byte_spans import BYTES, PAIR, READ_BYTES, put
from offline_feature_plane.kernels.compiling import compiled
from offline_feature_plane.kernels.words import is_plain, put_word, word_at

__all__ = ["decode_text", "key_end", "plain_text", "tell_raw", "tell_text"]

_QUOTE, _BACKSLASH, _SLASH, _ZERO, _NINE = 34, 92, 47, 48, 57
_B, _F, _N, _R, _T, _U = 98, 102, 110, 114, 116, 117


@compiled(types.int64(READ_BYTES, types.int64, types.int64))
def rune(data: Any, at: Any, end: Any) -> Any:
    """How many bytes the character beyond ASCII at `at` has in well-formed UTF-8; 0 if it is none."""
    lead = data[at]
    if 0xC2 <= lead <= 0xDF:
        size = 2
    elif 0xE0 <= lead <= 0xEF:
        size = 3
    elif 0xF0 <= lead <= 0xF4:
        size = 4
    else:
        return 0
    if at + size > end:
        return 0
    for i in range(1, size):
        if data[at + i] & 0xC0 != 0x80:
            return 0
    second = data[at + 1]
    if (lead == 0xE0 and second < 0xA0) or (lead == 0xED and second > 0x9F) or (lead == 0xF0 and second < 0x90) or (
            lead == 0xF4 and second > 0x8F):
        return 0
    return size


@compiled(types.int64(READ_BYTES, types.int64, types.int64))
def plain_text(data: Any, at: Any, end: Any) -> Any:
    """Where a text ends whose bytes stand for themselves in JSON: before the first quote, backslash or control character; −1: no UTF-8."""
    while at < end:
        if at + 8 <= end and is_plain(word_at(data, at)):
            at += 8
            continue
        c = data[at]
        if c < 32 or c in (_QUOTE, _BACKSLASH):
            return at
        if c < 128:
            at += 1
        else:
            size = rune(data, at, end)
            if size == 0:
                return -1
            at += size
    return at


@compiled(types.int64(READ_BYTES, types.int64, types.int64))
def key_end(data: Any, at: Any, end: Any) -> Any:
    """Where the quote is that closes a key; `end`: it has escapes, is no UTF-8, or has a character beyond U+D7FF.

    Up to there the order of bytes is that of UTF-16, which canonical text has its keys in.
    """
    while at < end:
        c = data[at]
        if c == _QUOTE:
            return at
        if c < 32 or c == _BACKSLASH or c > 0xED:
            return end
        size = 1 if c < 128 else rune(data, at, end)
        if size == 0:
            return end
        at += size
    return end


@compiled(types.int64(READ_BYTES, types.int64, types.int64))
def hex4(data: Any, at: Any, end: Any) -> Any:
    """The number that four hexadecimal digits stand for; −1 if they are none."""
    if at + 4 > end:
        return -1
    code = 0
    for i in range(4):
        c = data[at + i]
        if _ZERO <= c <= _NINE:
            code = code * 16 + c - 48
        elif 97 <= c <= 102:
            code = code * 16 + c - 87
        elif 65 <= c <= 70:
            code = code * 16 + c - 55
        else:
            return -1
    return code


@compiled(types.int64(types.int64, BYTES, types.int64))
def put_rune(code: Any, out: Any, pos: Any) -> Any:
    """Write a character of the basic plane as UTF-8; the place behind it."""
    if code < 0x80:
        out[pos] = code
        return pos + 1
    if code < 0x800:
        out[pos], out[pos + 1] = 0xC0 | code >> 6, 0x80 | code & 0x3F
        return pos + 2
    out[pos], out[pos + 1], out[pos + 2] = 0xE0 | code >> 12, 0x80 | code >> 6 & 0x3F, 0x80 | code & 0x3F
    return pos + 3


@compiled(types.int64(types.int64, BYTES, types.int64))
def put_escaped(code: Any, out: Any, pos: Any) -> Any:
    """Write a character that came by its number in its canonical spelling; the place behind it."""
    if code in (_QUOTE, _BACKSLASH):
        out[pos], out[pos + 1] = _BACKSLASH, code
        return pos + 2
    if code >= 32:
        return put_rune(code, out, pos)
    out[pos] = _BACKSLASH
    short = 0
    if code == 8:
        short = _B
    elif code == 9:
        short = _T
    elif code == 10:
        short = _N
    elif code == 12:
        short = _F
    elif code == 13:
        short = _R
    if short:
        out[pos + 1] = short
        return pos + 2
    digit = code & 15
    out[pos + 1], out[pos + 2], out[pos + 3], out[pos + 4] = _U, _ZERO, _ZERO, _ZERO + (code >> 4)
    out[pos + 5] = digit + (48 if digit < 10 else 87)
    return pos + 6


@compiled(PAIR(READ_BYTES, types.int64, types.int64, BYTES, types.int64))
def tell_text(data: Any, at: Any, end: Any, out: Any, pos: Any) -> Any:  # noqa: C901, PLR0911, PLR0912 - one walk, one kernel
    """Write what follows an opening quote canonically, up to the closing one; the place behind that, or −1, and where writing ended."""
    while at < end:
        if at + 8 <= end:
            word = word_at(data, at)
            if is_plain(word):
                put_word(out, pos, word)
                at += 8
                pos += 8
                continue
        c = data[at]
        if c == _QUOTE:
            return at + 1, pos
        if c < 32:
            return -1, pos
        if c == _BACKSLASH:
            if at + 1 >= end:
                return -1, pos
            e = data[at + 1]
            if e == _U:
                code = hex4(data, at + 2, end)
                if code < 0 or 0xD800 <= code <= 0xDFFF:
                    return -1, pos
                pos = put_escaped(code, out, pos)
                at += 6
                continue
            if e == _SLASH:
                out[pos] = _SLASH
                pos += 1
            elif e in (_QUOTE, _BACKSLASH, _B, _F, _N, _R, _T):
                out[pos], out[pos + 1] = _BACKSLASH, e
                pos += 2
            else:
                return -1, pos
            at += 2
        elif c < 128:
            out[pos] = c
            pos += 1
            at += 1
        else:
            size = rune(data, at, end)
            if size == 0:
                return -1, pos
            pos = put(data, at, at + size, out, pos)
            at += size
    return -1, pos


@compiled(types.int64(READ_BYTES, types.int64, types.int64, BYTES, types.int64))
def tell_raw(data: Any, at: Any, end: Any, out: Any, pos: Any) -> Any:
    """Write a text that stands for itself in its canonical spelling, without quotes; the place behind it, or −1: it is no UTF-8."""
    while at < end:
        if at + 8 <= end:
            word = word_at(data, at)
            if is_plain(word):
                put_word(out, pos, word)
                at += 8
                pos += 8
                continue
        c = data[at]
        if c < 32 or c in (_QUOTE, _BACKSLASH):
            pos = put_escaped(np.int64(c), out, pos)
            at += 1
        elif c < 128:
            out[pos] = c
            pos += 1
            at += 1
        else:
            size = rune(data, at, end)
            if size == 0:
                return -1
            pos = put(data, at, at + size, out, pos)
            at += size
    return pos


@compiled(types.int64(READ_BYTES, types.int64, types.int64, BYTES, types.int64))
def decode_text(data: Any, at: Any, end: Any, out: Any, pos: Any) -> Any:
    """Write the characters that the inside of a sound JSON text stands for; the place behind them."""
    while at < end:
        c = data[at]
        if c != _BACKSLASH:
            out[pos] = c
            pos += 1
            at += 1
            continue
        e = data[at + 1]
        if e == _U:
            pos = put_rune(hex4(data, at + 2, end), out, pos)
            at += 6
            continue
        if e == _B:
            e = np.uint8(8)
        elif e == _F:
            e = np.uint8(12)
        elif e == _N:
            e = np.uint8(10)
        elif e == _R:
            e = np.uint8(13)
        elif e == _T:
            e = np.uint8(9)
        out[pos] = e
        pos += 1
        at += 2
    return pos
