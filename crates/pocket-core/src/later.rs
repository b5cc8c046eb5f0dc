//! Later fields of stored rows: the last element of a row is nil while all are at their defaults, else a map.

/// Makes the type of such a last element. Entries that a reader does not know are skipped.
#[doc(hidden)]
#[macro_export]
macro_rules! later_fields {
    ($(#[$meta:meta])* $vis:vis struct $name:ident {
        $($(#[$doc:meta])* $field:ident: $type:ty = $key:literal,)*
    }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        $vis struct $name { $($(#[$doc])* $vis $field: $type,)* }

        impl ::serde::Serialize for $name {
            fn serialize<S: ::serde::Serializer>(
                &self,
                serializer: S,
            ) -> ::core::result::Result<S::Ok, S::Error> {
                use ::serde::ser::SerializeMap as _;
                let unset = Self::default();
                let fields = 0 $(+ usize::from(self.$field != unset.$field))*;
                if fields == 0 {
                    return serializer.serialize_none();
                }
                let mut map = serializer.serialize_map(Some(fields))?;
                $(if self.$field != unset.$field {
                    map.serialize_entry($key, &self.$field)?;
                })*
                map.end()
            }
        }

        impl<'de> ::serde::Deserialize<'de> for $name {
            fn deserialize<D: ::serde::Deserializer<'de>>(
                deserializer: D,
            ) -> ::core::result::Result<Self, D::Error> {
                struct LaterVisitor;

                impl<'de> ::serde::de::Visitor<'de> for LaterVisitor {
                    type Value = $name;

                    fn expecting(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                        f.write_str("nil or a map of later fields")
                    }

                    fn visit_none<E>(self) -> ::core::result::Result<$name, E> {
                        Ok($name::default())
                    }

                    fn visit_unit<E>(self) -> ::core::result::Result<$name, E> {
                        Ok($name::default())
                    }

                    fn visit_some<D: ::serde::Deserializer<'de>>(
                        self,
                        deserializer: D,
                    ) -> ::core::result::Result<$name, D::Error> {
                        deserializer.deserialize_map(self)
                    }

                    fn visit_map<A: ::serde::de::MapAccess<'de>>(
                        self,
                        mut map: A,
                    ) -> ::core::result::Result<$name, A::Error> {
                        let mut fields = $name::default();
                        while let Some(name) = map.next_key::<::std::string::String>()? {
                            match name.as_str() {
                                $($key => fields.$field = map.next_value()?,)*
                                _ => drop(map.next_value::<::serde::de::IgnoredAny>()?),
                            }
                        }
                        Ok(fields)
                    }
                }

                deserializer.deserialize_option(LaterVisitor)
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde::{Deserialize, Serialize};

    use crate::envelope::{Later, decode, encode};

    later_fields! {
        struct Fields {
            count: u64 = "c",
            name: Option<String> = "n",
        }
    }

    #[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
    struct New {
        number: u32,
        later: Fields,
    }

    #[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
    struct Old {
        number: u32,
        later: Later,
    }

    #[test]
    fn a_row_without_later_fields_is_the_old_one_byte_for_byte() {
        let old = encode(&Old {
            number: 7,
            later: Later,
        });
        let new = New {
            number: 7,
            later: Fields::default(),
        };
        assert_eq!(encode(&new), old);
        assert_eq!(decode::<New>(&Bytes::from(old)).unwrap(), new);
    }

    #[test]
    fn later_fields_come_back_and_an_old_reader_skips_them() {
        let new = New {
            number: 7,
            later: Fields {
                count: 3,
                name: Some("x".to_owned()),
            },
        };
        let bytes = Bytes::from(encode(&new));
        assert_eq!(decode::<New>(&bytes).unwrap(), new);
        assert_eq!(decode::<Old>(&bytes).unwrap().number, 7);
    }
}
