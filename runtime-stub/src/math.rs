//! The one transcendental function the stub needs, without libm: the same bits on every machine.

/// e^x, within 2 units in the last place for −87 ≤ x ≤ 88; 0 below, a large finite value above, 0 for NaN.
pub fn exp(x: f32) -> f32 {
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;

    if x.is_nan() || x < -87.0 {
        return 0.0;
    }
    let x = x.min(88.0);
    let scaled = x * core::f32::consts::LOG2_E;
    // Round half away from zero; |scaled| < 128.
    let n = (scaled + if scaled < 0.0 { -0.5 } else { 0.5 }) as i32;
    let r = x - n as f32 * LN2_HIGH - n as f32 * LN2_LOW;
    // Minimax polynomial of (e^r − 1 − r) / r² on |r| ≤ ln 2 / 2 (Cephes).
    let p = ((((1.987_569_1e-4 * r + 1.398_199_9e-3) * r + 8.333_452e-3) * r + 4.166_579_6e-2) * r + 1.666_666_5e-1) * r + 0.5;
    let value = p * r * r + r + 1.0;
    value * f32::from_bits(((n + 127) as u32) << 23)
}
