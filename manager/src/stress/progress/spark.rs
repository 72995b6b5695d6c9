//! A row of small bars.

/// From low to high.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The last `width` values, each as high as it is beside the largest of them.
pub(super) fn line(values: &[u64], width: usize) -> String {
    let shown = values.get(values.len().saturating_sub(width)..).unwrap_or_default();
    let most = shown.iter().copied().max().unwrap_or(0).max(1);
    let bar = |value: &u64| {
        let height = value.saturating_mul(8).div_ceil(most).clamp(1, 8) - 1;
        usize::try_from(height).ok().and_then(|height| BARS.get(height)).copied().unwrap_or(' ')
    };
    shown.iter().map(bar).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn bars_are_as_high_as_their_values() {
        assert_eq!(super::line(&[9, 0, 1, 4, 8], 4), "▁▁▄█");
        assert_eq!(super::line(&[], 4), "");
    }
}
