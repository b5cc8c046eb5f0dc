//! JSON by the parser that JavaScript has: to read and write it takes hardly any code here.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use js_sys::{Array, Date, JSON, Object, Reflect};
use pocket_core::{Error, Integer, Map, Result, Timestamp, Value, codes};
use wasm_bindgen::{JsCast, JsValue};

use crate::migrations::text;
use crate::promise::whole_number;

/// How deep the values of options may be.
const MAX_DEPTH: usize = 128;

/// Options that cannot be read.
pub(crate) fn refused(why: &str) -> Error {
    Error::new(
        codes::CONFIG,
        format_args!("the options cannot be read: {why}"),
    )
}

/// An object of options, whose fields are asked for by their names. One that nobody asks for was refused in TypeScript already,
/// with the name that was probably meant.
pub(crate) struct Fields(Object);

impl Fields {
    /// Those of an object in JSON.
    pub(crate) fn parse(json: &str) -> Result<Self> {
        let value = JSON::parse(json).map_err(|thrown| refused(&text(&thrown)))?;
        Self::of(value, "they are")
    }

    /// Those of an object; `what` names it in the error.
    pub(crate) fn of(value: JsValue, what: &str) -> Result<Self> {
        let object = Some(value).filter(|value| !Array::is_array(value));
        let object = object.and_then(|value| value.dyn_into().ok());
        let object = object.ok_or_else(|| refused(&format!("{what} no object")))?;
        Ok(Self(object))
    }

    /// A field, which may be missing.
    pub(crate) fn field(&self, name: &'static str) -> Field {
        Field {
            name,
            value: get(&self.0, name),
        }
    }

    /// A field that is missing if it is null, too.
    pub(crate) fn nullable(&self, name: &'static str) -> Field {
        let mut field = self.field(name);
        if field.value.is_null() {
            field.value = JsValue::UNDEFINED;
        }
        field
    }
}

/// A field of options.
pub(crate) struct Field {
    name: &'static str,
    value: JsValue,
}

impl Field {
    fn read<T>(self, expected: &str, read: impl FnOnce(JsValue) -> Option<T>) -> Result<Option<T>> {
        if self.value.is_undefined() {
            return Ok(None);
        }
        match read(self.value) {
            Some(read) => Ok(Some(read)),
            None => Err(refused(&format!("`{}` is {expected}", self.name))),
        }
    }

    pub(crate) fn text(self) -> Result<Option<String>> {
        self.read("text", |value| value.as_string())
    }

    pub(crate) fn bool(self) -> Result<Option<bool>> {
        self.read("true or false", |value| value.as_bool())
    }

    pub(crate) fn number<T: TryFrom<u64>>(self) -> Result<Option<T>> {
        self.read("a whole number from 0 on, and not too large", |value| {
            let number = value.as_f64().and_then(whole_number);
            number.and_then(|number| T::try_from(number).ok())
        })
    }

    /// One of these, by its name.
    pub(crate) fn one_of<T: Copy>(self, choices: &[(&str, T)]) -> Result<Option<T>> {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        self.read(&format!("one of {}", names.join(", ")), |value| {
            let given = value.as_string()?;
            let choice = choices.iter().find(|(name, _)| *name == given);
            choice.map(|(_, choice)| *choice)
        })
    }

    /// The elements of an array; none if it is missing.
    pub(crate) fn list(self) -> Result<Vec<JsValue>> {
        let list = self.read("an array", |value| value.dyn_into::<Array>().ok())?;
        Ok(list.map(|list| list.iter().collect()).unwrap_or_default())
    }

    /// The texts of an array; none if it is missing.
    pub(crate) fn texts(self) -> Result<Option<Vec<String>>> {
        self.read("an array of texts", |value| {
            let list: Array = value.dyn_into().ok()?;
            list.iter().map(|text| text.as_string()).collect()
        })
    }

    /// What is in an object, by name; none if it is missing.
    pub(crate) fn entries(self) -> Result<Vec<(String, JsValue)>> {
        let object = self.object()?;
        Ok(object.map(|fields| entries(&fields.0)).unwrap_or_default())
    }

    pub(crate) fn object(self) -> Result<Option<Fields>> {
        if self.value.is_undefined() {
            return Ok(None);
        }
        Fields::of(self.value, &format!("`{}` is", self.name)).map(Some)
    }

    /// A value as `docs/values.md` writes it in JSON; keys may begin with `$`.
    pub(crate) fn value(self) -> Result<Option<Value>> {
        if self.value.is_undefined() {
            return Ok(None);
        }
        let read = value_of(&self.value, MAX_DEPTH);
        read.map(Some)
            .map_err(|why| refused(&format!("`{}`: {why}", self.name)))
    }
}

/// What JSON made has no getters that could throw.
fn get(object: &Object, name: &str) -> JsValue {
    Reflect::get(object, &name.into()).unwrap_or_default()
}

fn entries(object: &Object) -> Vec<(String, JsValue)> {
    let names = Object::keys(object);
    let names = names.iter().filter_map(|name| name.as_string());
    names
        .map(|name| {
            let value = get(object, &name);
            (name, value)
        })
        .collect()
}

fn value_of(from: &JsValue, depth: usize) -> Result<Value, &'static str> {
    let Some(depth) = depth.checked_sub(1) else {
        return Err("it is too deep");
    };
    if from.is_null() {
        return Ok(Value::Null);
    }
    if let Some(value) = from.as_bool() {
        return Ok(value.into());
    }
    if let Some(text) = from.as_string() {
        return Ok(text.into());
    }
    if let Some(number) = from.as_f64() {
        return Ok(number_of(number));
    }
    if let Some(list) = from.dyn_ref::<Array>() {
        let values = list.iter().map(|value| value_of(&value, depth));
        return values.collect::<Result<_, _>>().map(Value::Array);
    }
    let object = from.dyn_ref::<Object>().ok_or("it is no value")?;
    let entries = entries(object);
    if let [(name, value)] = &*entries {
        match name.as_str() {
            "$date" => return moment_of(value).ok_or("`$date` is no moment"),
            "$binary" => return bytes_of(value).ok_or("`$binary` is no base64 with padding"),
            _ => {}
        }
    }
    let mut map = Map::new();
    for (name, value) in &entries {
        map.insert(name.as_str(), value_of(value, depth)?);
    }
    Ok(Value::Map(map))
}

/// As JSON would have it read: without a fraction it is an integer, where that fits.
fn number_of(number: f64) -> Value {
    const MIN: f64 = -9_223_372_036_854_775_808.0;
    const END: f64 = 18_446_744_073_709_551_616.0;
    if number.fract() != 0.0 || !(MIN..END).contains(&number) {
        return Value::from(number);
    }
    #[expect(clippy::cast_sign_loss, reason = "it was looked at")]
    if number < 0.0 {
        Value::from(number as i64)
    } else {
        Value::from(number as u64)
    }
}

fn moment_of(value: &JsValue) -> Option<Value> {
    let millis = match value.as_string() {
        Some(text) => Date::parse(&text),
        None => value.as_f64()?,
    };
    let is_whole = millis.fract() == 0.0;
    is_whole.then(|| Value::Timestamp(Timestamp::from_millis(millis as i64)))
}

fn bytes_of(value: &JsValue) -> Option<Value> {
    let bytes = STANDARD.decode(value.as_string()?).ok()?;
    Some(Value::Binary(bytes.into()))
}

/// An object in the making.
#[derive(Default)]
pub(crate) struct Built(Object);

impl Built {
    pub(crate) fn with(self, name: &str, value: impl Into<JsValue>) -> Self {
        set(&self.0, name, &value.into());
        self
    }

    /// With a field that is left out if there is nothing to say.
    pub(crate) fn with_some(self, name: &str, value: Option<impl Into<JsValue>>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// With a number, which is far below 2⁵³.
    pub(crate) fn with_number(self, name: &str, number: u64) -> Self {
        self.with(name, crate::promise::number(number))
    }
}

/// A new object takes any property.
fn set(object: &Object, name: &str, value: &JsValue) {
    let _ = Reflect::set(object, &name.into(), value);
}

impl From<Built> for JsValue {
    fn from(built: Built) -> Self {
        built.0.into()
    }
}

/// What JavaScript would write.
pub(crate) fn written(value: impl Into<JsValue>) -> String {
    // Nothing that was built here runs in a circle, or is a number that JSON does not have.
    JSON::stringify(&value.into())
        .map(String::from)
        .unwrap_or_default()
}

/// A value as `docs/values.md` writes it in JSON.
pub(crate) fn shown(value: &Value) -> JsValue {
    match value {
        Value::Null => JsValue::NULL,
        Value::Bool(value) => (*value).into(),
        Value::Integer(value) => integer(*value).into(),
        Value::Float(value) => (*value).into(),
        Value::String(value) => value.as_str().into(),
        Value::Binary(value) => Built::default()
            .with("$binary", STANDARD.encode(value))
            .into(),
        Value::Timestamp(value) => {
            let text = value.to_string();
            // Beyond the year 9999 it is a number.
            let date: JsValue = if text.ends_with('Z') {
                text.into()
            } else {
                millis(*value)
            };
            Built::default().with("$date", date).into()
        }
        Value::Array(values) => values.iter().map(shown).collect::<Array>().into(),
        Value::Map(map) => {
            // Without a prototype, `__proto__` is a name like others.
            let object = Object::create(JsValue::NULL.unchecked_ref());
            for (name, value) in map.iter() {
                set(&object, name, &shown(value));
            }
            object.into()
        }
    }
}

/// The nearest number that JavaScript has.
#[expect(clippy::cast_precision_loss, reason = "see above")]
fn integer(integer: Integer) -> f64 {
    integer.as_i128() as f64
}

/// Milliseconds since 1970.
#[expect(clippy::cast_precision_loss, reason = "a Date has no more")]
pub(crate) fn millis(time: Timestamp) -> JsValue {
    (time.millis() as f64).into()
}
