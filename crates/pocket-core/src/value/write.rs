//! Values as MessagePack, by hand: what serde would write of them.

use rmp::encode;

use super::serial::{key_fault, shown};
use super::timestamp::EXT_TYPE;
use super::{Map, Value};

/// No value is deeper; recursion ends there.
const MAX_DEPTH: usize = 1_024;

type Result = std::result::Result<(), String>;

/// The bytes of a value.
///
/// # Errors
/// What a document cannot hold: a float that is not finite, or a key that could not be read back.
pub(crate) fn value_bytes(value: &Value) -> std::result::Result<Vec<u8>, String> {
    let mut to = Vec::new();
    write(&mut to, value, MAX_DEPTH).map(|()| to)
}

/// The bytes of a map.
///
/// # Errors
/// As [`value_bytes`].
pub(super) fn map_bytes(map: &Map) -> std::result::Result<Vec<u8>, String> {
    let mut to = Vec::new();
    write_map(&mut to, map, MAX_DEPTH).map(|()| to)
}

/// Writing into memory cannot fail.
fn written<T, E>(_: std::result::Result<T, E>) {}

fn write(to: &mut Vec<u8>, value: &Value, depth: usize) -> Result {
    match value {
        Value::Null => written(encode::write_nil(to)),
        Value::Bool(value) => written(encode::write_bool(to, *value)),
        Value::Integer(value) => match (value.as_u64(), value.as_i64()) {
            (Some(natural), _) => written(encode::write_uint(to, natural)),
            (None, negative) => written(encode::write_sint(to, negative.unwrap_or(i64::MIN))),
        },
        Value::Float(value) if value.is_finite() => written(encode::write_f64(to, *value)),
        Value::Float(value) => {
            return Err(format!(
                "{value} is not finite and cannot be kept; leave it out or use null"
            ));
        }
        Value::String(value) => written(encode::write_str(to, value)),
        Value::Binary(value) => written(encode::write_bin(to, value)),
        Value::Timestamp(value) => {
            let ext = value.to_ext();
            written(encode::write_ext_meta(to, ext.len as u32, EXT_TYPE));
            to.extend_from_slice(&ext.bytes[..ext.len]);
        }
        Value::Array(values) => {
            let depth = deeper(depth)?;
            written(encode::write_array_len(to, values.len() as u32));
            for value in values {
                write(to, value, depth)?;
            }
        }
        Value::Map(map) => write_map(to, map, depth)?,
    }
    Ok(())
}

fn write_map(to: &mut Vec<u8>, map: &Map, depth: usize) -> Result {
    let depth = deeper(depth)?;
    written(encode::write_map_len(to, map.len() as u32));
    for (key, value) in map.iter() {
        if let Some(fault) = key_fault(key) {
            return Err(format!("the key {:?} {fault}", shown(key)));
        }
        written(encode::write_str(to, key));
        write(to, value, depth)?;
    }
    Ok(())
}

fn deeper(depth: usize) -> std::result::Result<usize, String> {
    depth
        .checked_sub(1)
        .ok_or_else(|| format!("a value has more than {MAX_DEPTH} levels"))
}
