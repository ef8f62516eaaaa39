"""Light on a logarithmic scale of 1 % a step, in integers: step = round(ln(1 + lx / 0.5) / ln 1.01)."""


def lux_step(millilux: int) -> int:
    """The step nearest to a light in millilux; 0 lx is step 0, 200000 lx step 1296. Negative light counts as none."""
    if millilux < 0:
        millilux = 0
    # log2 of 1 + lx / 0.5 with 20 binary places: the mantissa has 24 of them and is squared once a place.
    x = (millilux + 500 << 24) // 500
    log = 0
    while x >= 2 << 24:
        x >>= 1
        log += 1
    for _ in range(20):
        x = x * x >> 24
        log <<= 1
        if x >= 2 << 24:
            x >>= 1
            log |= 1
    return log * 4565285 + (1 << 35) >> 36  # 4565285 / 2**16 = log of 2 to base 1.01


def millilux(step: int) -> int:
    """The light in millilux in the middle of a step: 500 * (1.01 ** step - 1)."""
    whole: int = 100**step
    value: int = (500 * 101**step + (whole >> 1)) // whole - 500
    return value
