//! `PyTorch`'s option string: `key:value,key:[a:1,b:2]`.
//!
//! Read as `PyTorch` 2.15 reads it (blanks are ignored, the last of two equal keys wins, `True`
//! and `False` are spelled so), but stricter where it is careless: what it would misread in
//! silence is a warning here, and every message names the key and the remedy.

use freeboard_units::Bytes;

use super::{Config, ConfigError, ConfigWarning, Parsed, Reserve, Roundup};

/// Every key of `PyTorch` 2.15, with the spellings for AMD devices, and ours.
const KEYS: [&str; 26] = [
    "backend",
    "expandable_segments",
    "expandable_segments_reserve",
    "expandable_segments_reserve_by_class",
    "garbage_collection_threshold",
    "graph_capture_record_stream_reuse",
    "large_segment_size_mb",
    "max_non_split_rounding_mb",
    "max_split_size_mb",
    "per_process_memory_fraction",
    "pinned_free_catch_all",
    "pinned_max_cached_size_mb",
    "pinned_max_round_threshold_mb",
    "pinned_num_register_threads",
    "pinned_reserve_segment_size_mb",
    "pinned_use_background_threads",
    "pinned_use_cuda_host_register",
    "pinned_use_hip_host_register",
    "planning",
    "release_lock_on_cudamalloc",
    "release_lock_on_hipmalloc",
    "roundup_power2_divisions",
    "stitching",
    "stitching_mapping_budget",
    "stitching_reserve_target",
    "throw_on_cudamalloc_oom",
];

/// One `key:value` of the string.
struct Setting {
    key: String,
    value: String,
    position: usize,
}

impl Config {
    /// `PyTorch`'s policy with the settings of an option string; the empty string changes nothing.
    ///
    /// # Errors
    /// For unknown keys, malformed values and settings that exclude each other.
    pub fn parse(options: &str) -> Result<Parsed, ConfigError> {
        Self::pytorch().parse_onto(options)
    }

    /// This configuration, changed by the settings of an option string.
    ///
    /// # Errors
    /// As [`Config::parse`].
    pub fn parse_onto(self, options: &str) -> Result<Parsed, ConfigError> {
        let mut reader = Reader { config: self, warnings: Vec::new(), seen: Vec::new() };
        for setting in split(options)? {
            if reader.seen.contains(&setting.key) {
                reader.warn(&setting.key, "given more than once; the last one counts");
            }
            reader.apply(&setting)?;
            reader.seen.push(setting.key);
        }
        reader.config.check()?;
        let mut warnings = reader.warnings;
        warnings.extend(reader.config.inert_settings());
        Ok(Parsed { config: reader.config, warnings })
    }
}

/// The settings of a string, split at commas outside brackets. Blanks are dropped everywhere.
fn split(options: &str) -> Result<Vec<Setting>, ConfigError> {
    let mut settings = Vec::new();
    let (mut text, mut start, mut depth) = (String::new(), 1, 0_u32);
    let ended = options.chars().chain([',']).enumerate();
    for (index, letter) in ended {
        match letter {
            ',' if depth == 0 => {
                if !text.is_empty() {
                    settings.push(setting(&text, start)?);
                } else if index < options.chars().count() {
                    let remedy = "a setting is missing before this comma";
                    return Err(syntax(",", index + 1, remedy));
                }
                (text, start) = (String::new(), index + 2);
            }
            _ if letter.is_whitespace() => start += usize::from(text.is_empty()),
            _ => {
                depth += u32::from(letter == '[');
                depth = depth.saturating_sub(u32::from(letter == ']'));
                text.push(letter);
            }
        }
    }
    if depth > 0 {
        return Err(syntax(&text, start, "the list is not closed: write ']' after its last entry"));
    }
    Ok(settings)
}

fn setting(text: &str, position: usize) -> Result<Setting, ConfigError> {
    let (key, value) = text.split_once(':').unwrap_or((text, ""));
    if value.is_empty() || key.is_empty() {
        return Err(syntax(text, position, "write key:value, like expandable_segments:True"));
    }
    Ok(Setting { key: key.into(), value: value.into(), position })
}

fn syntax(text: &str, position: usize, remedy: &str) -> ConfigError {
    ConfigError::Syntax { text: text.into(), position, remedy: remedy.into() }
}

/// Settings applied so far.
struct Reader {
    config: Config,
    warnings: Vec<ConfigWarning>,
    seen: Vec<String>,
}

impl Reader {
    fn apply(&mut self, setting: &Setting) -> Result<(), ConfigError> {
        let config = &mut self.config;
        match setting.key.as_str() {
            "backend" => setting.backend()?,
            "expandable_segments" => {
                let on = setting.flag()?;
                self.config = self.config.clone().with_expandable_segments(on);
            }
            "expandable_segments_reserve" => {
                let reserve = self.reserve(setting, &setting.value);
                self.config.expandable_segments_reserve = reserve;
            }
            "expandable_segments_reserve_by_class" => self.reserve_by_class(setting),
            "garbage_collection_threshold" => {
                let threshold = self.number(setting)?;
                self.config = self.config.clone().with_garbage_collection(threshold)?;
            }
            "large_segment_size_mb" => {
                let size = self.mib(setting)?;
                if size <= Bytes::mib(10) {
                    return Err(setting.refuse("above 10"));
                }
                self.config.large_segment_size = size;
            }
            "max_split_size_mb" => {
                let size = self.mib(setting)?;
                self.config = self.config.clone().with_max_split_size(size)?;
            }
            "max_non_split_rounding_mb" => {
                let size = self.mib(setting)?;
                self.config = self.config.clone().with_max_non_split_rounding(size)?;
            }
            "per_process_memory_fraction" => {
                let fraction = self.number(setting)?;
                self.config = self.config.clone().with_memory_fraction(fraction)?;
            }
            "roundup_power2_divisions" => config.roundup = setting.roundup()?,
            "throw_on_cudamalloc_oom" => config.throw_on_oom = setting.flag()?,
            "graph_capture_record_stream_reuse"
            | "release_lock_on_cudamalloc"
            | "release_lock_on_hipmalloc" => {
                setting.flag()?;
                self.warn(&setting.key, "has no effect: this allocator has no such switch");
            }
            key if key.starts_with("pinned_") => self.apply_pinned(setting)?,
            _ => self.apply_ours(setting)?,
        }
        Ok(())
    }

    /// Settings of pinned host memory.
    fn apply_pinned(&mut self, setting: &Setting) -> Result<(), ConfigError> {
        let pinned = &mut self.config.pinned;
        match setting.key.as_str() {
            "pinned_use_cuda_host_register" | "pinned_use_hip_host_register" => {
                pinned.use_cuda_host_register = setting.flag()?;
            }
            "pinned_use_background_threads" => pinned.use_background_threads = setting.flag()?,
            "pinned_free_catch_all" => pinned.free_catch_all = setting.flag()?,
            "pinned_num_register_threads" => {
                pinned.num_register_threads = setting.register_threads()?;
            }
            "pinned_max_round_threshold_mb" => {
                self.config.pinned.max_round_threshold = self.mib(setting)?;
            }
            "pinned_max_cached_size_mb" => {
                let size = self.mib(setting)?;
                self.config.pinned.max_cached_size = size;
            }
            "pinned_reserve_segment_size_mb" => {
                let size = self.mib(setting)?;
                if size.is_zero() {
                    return Err(setting.refuse("above 0; leave the key out for no slab"));
                }
                self.config.pinned.reserve_segment_size = size;
            }
            _ => return Err(setting.unknown()),
        }
        self.warn(&setting.key, "concerns pinned host memory, not the device allocator");
        Ok(())
    }

    /// Settings that `PyTorch` does not have.
    fn apply_ours(&mut self, setting: &Setting) -> Result<(), ConfigError> {
        match setting.key.as_str() {
            "stitching" => self.config = self.config.clone().with_stitching(setting.flag()?),
            "stitching_mapping_budget" => {
                let budget = self.number(setting)?;
                self.config = self.config.clone().with_mapping_budget(budget)?;
            }
            "stitching_reserve_target" => {
                let target = self.number(setting)?;
                self.config = self.config.clone().with_reserve_target(target)?;
            }
            "planning" => self.config.planning = setting.flag()?,
            _ => return Err(setting.unknown()),
        }
        Ok(())
    }

    fn warn(&mut self, key: &str, message: &str) {
        self.warnings.push(ConfigWarning { key: key.into(), message: message.into() });
    }

    /// A whole number of MiB. `PyTorch` reads digits and ignores what follows them.
    fn mib(&mut self, setting: &Setting) -> Result<Bytes, ConfigError> {
        let digits = setting.value.bytes().take_while(u8::is_ascii_digit).count();
        let number = setting.value[..digits].parse::<u64>();
        let Ok(number) = number else {
            return Err(setting.refuse("a whole number of MiB"));
        };
        if digits < setting.value.len() {
            let message = format!("'{}' is read as {number} MiB", setting.value);
            self.warn(&setting.key, &message);
        }
        Ok(Bytes::mib(number.min(u64::MAX >> 20)))
    }

    fn number(&mut self, setting: &Setting) -> Result<f64, ConfigError> {
        if let Ok(number) = setting.value.parse() {
            return Ok(number);
        }
        let numeric = |c: char| c.is_ascii_digit() || c == '.';
        let end = setting.value.find(|c| !numeric(c)).unwrap_or(setting.value.len());
        let Ok(number) = setting.value[..end].parse() else {
            return Err(setting.refuse("a number"));
        };
        let message = format!("'{}' is read as {number}", setting.value);
        self.warn(&setting.key, &message);
        Ok(number)
    }

    /// `0.5` of the device, or `40G`; anything else keeps the default, as in `PyTorch`.
    fn reserve(&mut self, setting: &Setting, value: &str) -> Option<Reserve> {
        let gib = value.strip_suffix(['G', 'g']);
        let number = gib.unwrap_or(value).parse::<f64>().ok();
        let Some(number) = number.filter(|n| n.is_finite() && *n > 0.0) else {
            let message = format!(
                "'{value}' is ignored: write a fraction like 0.5 or an absolute size like 40G"
            );
            self.warn(&setting.key, &message);
            return None;
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "positive, and saturating is what an absurd reserve should do"
        )]
        Some(match gib {
            Some(_) => Reserve::Bytes(Bytes::new((number * Bytes::gib(1).as_f64()) as u64)),
            None => Reserve::Fraction(number),
        })
    }

    /// Classes are given to streams from Python; here they are checked and reported.
    fn reserve_by_class(&mut self, setting: &Setting) {
        let list = setting.value.trim_start_matches('[').trim_end_matches(']');
        for entry in list.split(',').filter(|entry| !entry.is_empty()) {
            let value = entry.split_once(':').map_or("", |(_, value)| value);
            self.reserve(setting, value);
        }
        self.warn(&setting.key, "has no effect: streams have no reserve classes here");
    }
}

impl Setting {
    fn refuse(&self, expected: &str) -> ConfigError {
        ConfigError::out_of_range(&self.key, &self.value, expected)
    }

    fn unknown(&self) -> ConfigError {
        let common = |a: &str| a.bytes().zip(self.key.bytes()).take_while(|(x, y)| x == y).count();
        let nearest = KEYS.iter().max_by_key(|key| common(key)).filter(|key| common(key) >= 4);
        let hint = match nearest {
            Some(key) => format!("did you mean '{key}'?"),
            None => format!("the keys are {}", KEYS.join(", ")),
        };
        ConfigError::UnknownKey { key: self.key.clone(), position: self.position, hint }
    }

    fn flag(&self) -> Result<bool, ConfigError> {
        match self.value.as_str() {
            "True" => Ok(true),
            "False" => Ok(false),
            _ => Err(self.refuse("True or False, with a capital letter")),
        }
    }

    fn backend(&self) -> Result<(), ConfigError> {
        match self.value.as_str() {
            "native" => Ok(()),
            "cudaMallocAsync" => Err(self.refuse(
                "native: with cudaMallocAsync the driver decides, and there is no policy to follow",
            )),
            _ => Err(self.refuse("native")),
        }
    }

    fn register_threads(&self) -> Result<u32, ConfigError> {
        let threads = self.value.parse::<u32>().ok();
        threads
            .filter(|n| n.is_power_of_two() && *n <= 128)
            .ok_or_else(|| self.refuse("a power of two up to 128"))
    }

    /// A number for all sizes, or a list of `MiB:divisions` with `>` for all above.
    fn roundup(&self) -> Result<Roundup, ConfigError> {
        let power = "a power of two";
        let Some(list) = self.value.strip_prefix('[') else {
            let divisions = self.value.parse::<u32>().ok().filter(|n| n.is_power_of_two());
            return divisions.and_then(Roundup::uniform).ok_or_else(|| self.refuse(power));
        };
        let mut table = [0; Roundup::INTERVALS];
        let mut latest = None;
        for entry in list.trim_end_matches(']').split(',').filter(|entry| !entry.is_empty()) {
            let (size, divisions) = entry.split_once(':').unwrap_or((entry, ""));
            let divisions = divisions
                .parse::<u32>()
                .ok()
                .filter(|n| *n == 0 || n.is_power_of_two())
                .ok_or_else(|| self.refuse("MiB:divisions, each division 0 or a power of two"))?;
            if size == ">" {
                // From the interval behind the last one named, or behind the first.
                table[latest.map_or(1, |latest| latest + 1)..].fill(divisions);
                continue;
            }
            let size = size.parse::<u64>().ok().filter(|n| n.is_power_of_two());
            let size = size.ok_or_else(|| self.refuse("MiB:divisions, the sizes powers of two"))?;
            let interval = (size.ilog2() as usize).min(Roundup::INTERVALS - 1);
            if latest.is_none() {
                table[..interval].fill(divisions);
            }
            table[interval] = divisions;
            latest = Some(interval);
        }
        Roundup::by_interval(table).ok_or_else(|| self.refuse(power))
    }
}

#[cfg(test)]
mod tests;
