//! The activation format a8g32.

/// Columns of a group of a8g32.
pub const ACT_GROUP: usize = 32;

/// Quantizes one group: `codes[i] = round(x[i] · (127 / max|x|))` to nearest even, in −127..=127. Returns the scale
/// `max|x| / 127` (a code's worth) and the sum of the codes. A group of zeros has scale 0 and codes 0. A NaN becomes code 0; a group
/// with an infinity has an infinite scale.
pub fn quantize_act_group(x: &[f32; ACT_GROUP], codes: &mut [i8; ACT_GROUP]) -> (f32, i32) {
    let max = x.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    if max == 0.0 {
        *codes = [0; ACT_GROUP];
        return (0.0, 0);
    }
    let inverse = 127.0 / max;
    let mut sum = 0;
    for (code, v) in codes.iter_mut().zip(x) {
        *code = (v * inverse).round_ties_even().clamp(-127.0, 127.0) as i8;
        sum += i32::from(*code);
    }
    (max / 127.0, sum)
}
