//! Writes values one after the other, each in its shortest form.

use bytes::Bytes;
use rmp::encode;

const ALWAYS: &str = "a vector takes every byte";

/// A frame under construction.
#[derive(Debug)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    /// The map of one entry around every message, and the map of its fields.
    pub(super) fn message(capacity: usize, name: &str, fields: usize) -> Self {
        let mut writer = Self::with_capacity(capacity);
        writer.map(1);
        writer.text(name);
        writer.map(fields);
        writer
    }

    pub(super) fn map(&mut self, len: usize) {
        encode::write_map_len(&mut self.0, length(len)).expect(ALWAYS);
    }

    pub(super) fn array(&mut self, len: usize) {
        encode::write_array_len(&mut self.0, length(len)).expect(ALWAYS);
    }

    pub(super) fn list<T>(
        &mut self,
        values: impl IntoIterator<Item = T, IntoIter: ExactSizeIterator>,
        mut write: impl FnMut(&mut Self, T),
    ) {
        let values = values.into_iter();
        self.array(values.len());
        values.for_each(|value| write(self, value));
    }

    pub(super) fn nil(&mut self) {
        encode::write_nil(&mut self.0).expect(ALWAYS);
    }

    pub(super) fn bool(&mut self, value: bool) {
        encode::write_bool(&mut self.0, value).expect(ALWAYS);
    }

    pub(super) fn u64(&mut self, value: u64) {
        encode::write_uint(&mut self.0, value).expect(ALWAYS);
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.u64(u64::from(value));
    }

    pub(super) fn usize(&mut self, value: usize) {
        self.u64(value as u64);
    }

    pub(super) fn i64(&mut self, value: i64) {
        encode::write_sint(&mut self.0, value).expect(ALWAYS);
    }

    pub(super) fn text(&mut self, value: &str) {
        encode::write_str(&mut self.0, value).expect(ALWAYS);
    }

    /// Text for people, cut where the receiver would refuse it.
    pub(super) fn cut_text(&mut self, value: &str, max: usize) {
        let mut end = value.len().min(max);
        while !value.is_char_boundary(end) {
            end -= 1;
        }
        self.text(&value[..end]);
    }

    pub(super) fn bin(&mut self, value: &[u8]) {
        encode::write_bin(&mut self.0, value).expect(ALWAYS);
    }

    /// A field, by name.
    pub(super) fn field(&mut self, name: &str) -> &mut Self {
        self.text(name);
        self
    }

    /// A field that is left out when it has no value.
    pub(super) fn optional<T>(
        &mut self,
        name: &str,
        value: Option<T>,
        write: impl FnOnce(&mut Self, T),
    ) {
        if let Some(value) = value {
            self.text(name);
            write(self, value);
        }
    }

    pub(super) fn finish(self) -> Bytes {
        Bytes::from(self.0)
    }
}

fn length(len: usize) -> u32 {
    u32::try_from(len).expect("a message has fewer than 2³² elements")
}
