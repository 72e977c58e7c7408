"""An Ethereum account in plain Python: enough to sign messages of the network.

A program has no wallet of its own and no packages beyond the standard library, so this is the
whole of it: Keccak-256, secp256k1 with deterministic nonces (RFC 6979) and the signature that
wallets make of a text (EIP-191). It is small and slow (some 20 ms a signature) and does not run in
constant time: right for a throw-away key inside a program, wrong for anybody's savings.
"""

from __future__ import annotations

import hashlib
import hmac

_P = 2**256 - 2**32 - 977
_N = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
_G = (
    0x79BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798,
    0x483ADA7726A3C4655DA4FBFC0E1108A8FD17B448A68554199C47D08FFB10D4B8,
)

_ROUND_CONSTANTS = (
    0x0000000000000001, 0x0000000000008082, 0x800000000000808A, 0x8000000080008000,
    0x000000000000808B, 0x0000000080000001, 0x8000000080008081, 0x8000000000008009,
    0x000000000000008A, 0x0000000000000088, 0x0000000080008009, 0x000000008000000A,
    0x000000008000808B, 0x800000000000008B, 0x8000000000008089, 0x8000000000008003,
    0x8000000000008002, 0x8000000000000080, 0x000000000000800A, 0x800000008000000A,
    0x8000000080008081, 0x8000000000008080, 0x0000000080000001, 0x8000000080008008,
)
_MASK = 2**64 - 1


def keccak256(data: bytes) -> bytes:
    """Keccak-256 as Ethereum uses it (the padding of before SHA-3 became a standard)."""
    rate = 136
    padding = rate - len(data) % rate
    tail = b"\x81" if padding == 1 else b"\x01" + bytes(padding - 2) + b"\x80"
    padded = data + tail
    lanes = [0] * 25
    for start in range(0, len(padded), rate):
        for i in range(rate // 8):
            lanes[i] ^= int.from_bytes(padded[start + 8 * i : start + 8 * i + 8], "little")
        _permute(lanes)
    return b"".join(lane.to_bytes(8, "little") for lane in lanes[:4])


def _permute(a: list[int]) -> None:
    for constant in _ROUND_CONSTANTS:
        c = [a[x] ^ a[x + 5] ^ a[x + 10] ^ a[x + 15] ^ a[x + 20] for x in range(5)]
        d = [c[(x + 4) % 5] ^ _rotate(c[(x + 1) % 5], 1) for x in range(5)]
        for i in range(25):
            a[i] ^= d[i % 5]
        x, y, current = 1, 0, a[1]
        for step in range(24):
            x, y = y, (2 * x + 3 * y) % 5
            position = x + 5 * y
            current, a[position] = a[position], _rotate(current, (step + 1) * (step + 2) // 2)
        for row in range(0, 25, 5):
            line = a[row : row + 5]
            for x in range(5):
                a[row + x] = line[x] ^ (~line[(x + 1) % 5] & _MASK & line[(x + 2) % 5])
        a[0] ^= constant


def _rotate(lane: int, bits: int) -> int:
    bits %= 64
    return ((lane << bits) | (lane >> (64 - bits))) & _MASK if bits else lane


# Points in Jacobian coordinates (x / z², y / z³); z = 0 is the point at infinity.
_Point = tuple[int, int, int]


def _double(p: _Point) -> _Point:
    x, y, z = p
    if not y or not z:
        return (0, 0, 0)
    square = y * y % _P
    s = 4 * x * square % _P
    m = 3 * x * x % _P
    new_x = (m * m - 2 * s) % _P
    return (new_x, (m * (s - new_x) - 8 * square * square) % _P, 2 * y * z % _P)


def _add(p: _Point, q: _Point) -> _Point:
    if not p[2]:
        return q
    if not q[2]:
        return p
    zz_p, zz_q = p[2] * p[2] % _P, q[2] * q[2] % _P
    u_p, u_q = p[0] * zz_q % _P, q[0] * zz_p % _P
    s_p, s_q = p[1] * zz_q * q[2] % _P, q[1] * zz_p * p[2] % _P
    if u_p == u_q:
        return _double(p) if s_p == s_q else (0, 0, 0)
    h, r = (u_q - u_p) % _P, (s_q - s_p) % _P
    hh = h * h % _P
    hhh = h * hh % _P
    v = u_p * hh % _P
    x = (r * r - hhh - 2 * v) % _P
    return (x, (r * (v - x) - s_p * hhh) % _P, h * p[2] * q[2] % _P)


def _multiply(scalar: int) -> tuple[int, int]:
    """`scalar` times the curve's generator."""
    result, addend = (0, 0, 0), (*_G, 1)
    while scalar:
        if scalar & 1:
            result = _add(result, addend)
        addend = _double(addend)
        scalar >>= 1
    inverse = pow(result[2], -1, _P)
    return result[0] * inverse**2 % _P, result[1] * inverse**3 % _P


class Account:
    """One secret key.

    >>> Account.from_hex("01" * 32).address
    '0x1a642f0E3c3aF545E7AcBD38b07251B3990914F1'
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = int.from_bytes(secret, "big")
        if len(secret) != 32 or not 0 < self._secret < _N:
            raise ValueError("a secret key is 32 bytes, neither zero nor beyond the curve's order")
        x, y = _multiply(self._secret)
        public = x.to_bytes(32, "big") + y.to_bytes(32, "big")
        self.address = _checksummed(keccak256(public)[12:])

    @classmethod
    def from_hex(cls, text: str) -> Account:
        return cls(bytes.fromhex(text.strip().removeprefix("0x")))

    def sign_text(self, text: bytes) -> str:
        """What a wallet answers when it is asked to sign `text`: `0x`, r, s and v in hexadecimal."""
        prefix = b"\x19Ethereum Signed Message:\n" + str(len(text)).encode()
        digest = keccak256(prefix + text)
        for nonce in self._nonces(digest):
            x, y = _multiply(nonce)
            r = x % _N
            s = pow(nonce, -1, _N) * (int.from_bytes(digest, "big") + r * self._secret) % _N
            if not r or not s:
                continue
            recovery = (y & 1) ^ (2 if x >= _N else 0)
            if s > _N // 2:
                s, recovery = _N - s, recovery ^ 1
            return "0x" + r.to_bytes(32, "big").hex() + s.to_bytes(32, "big").hex() + f"{27 + recovery:02x}"
        raise AssertionError("the nonces never end")

    def _nonces(self, digest: bytes):
        """RFC 6979 with SHA-256: candidates for the nonce, from the key and the digest alone."""
        secret = self._secret.to_bytes(32, "big")
        hashed = (int.from_bytes(digest, "big") % _N).to_bytes(32, "big")
        value, key = b"\x01" * 32, b"\x00" * 32
        for separator in (b"\x00", b"\x01"):
            key = hmac.digest(key, value + separator + secret + hashed, hashlib.sha256)
            value = hmac.digest(key, value, hashlib.sha256)
        while True:
            value = hmac.digest(key, value, hashlib.sha256)
            candidate = int.from_bytes(value, "big")
            if 0 < candidate < _N:
                yield candidate
            key = hmac.digest(key, value + b"\x00", hashlib.sha256)
            value = hmac.digest(key, value, hashlib.sha256)


def _checksummed(address: bytes) -> str:
    """EIP-55: the case of each letter carries a checksum."""
    digits = address.hex()
    nibbles = keccak256(digits.encode()).hex()
    return "0x" + "".join(
        digit.upper() if int(nibble, 16) >= 8 else digit for digit, nibble in zip(digits, nibbles)
    )
