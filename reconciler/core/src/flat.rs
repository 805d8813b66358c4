//! Sums of sums that are written flat: the tag of the inner one stands alone, and tells the room that it belongs to.

use serde::de::value::{EnumAccessDeserializer, StringDeserializer};
use serde::de::{DeserializeSeed, EnumAccess, IntoDeserializer as _};

/// A tagged value whose tag has been read already.
pub(crate) struct Tagged<V> {
    tag: String,
    content: V,
}

impl<V> Tagged<V> {
    /// Reads the tag alone.
    pub(crate) fn read<'de, A: EnumAccess<'de, Variant = V>>(
        access: A,
    ) -> Result<(String, Self), A::Error> {
        let (tag, content) = access.variant::<String>()?;
        Ok((tag.clone(), Self { tag, content }))
    }
}

impl<'de, V: serde::de::VariantAccess<'de>> Tagged<V> {
    /// The whole of it, to be read by the one whose tag it is.
    pub(crate) fn whole(self) -> EnumAccessDeserializer<Self> {
        EnumAccessDeserializer::new(self)
    }
}

impl<'de, V: serde::de::VariantAccess<'de>> EnumAccess<'de> for Tagged<V> {
    type Error = V::Error;
    type Variant = V;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, V), V::Error> {
        let tag: StringDeserializer<V::Error> = self.tag.into_deserializer();
        Ok((seed.deserialize(tag)?, self.content))
    }
}

/// Writes a sum of rooms flat, and reads it by the lists of tags that rooms have.
macro_rules! flat_sum {
    ($sum:ident { $($arm:ident($inner:ty)),* $(,)? }) => {
        impl serde::Serialize for $sum {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                match self {
                    $(Self::$arm(inner) => inner.serialize(to),)*
                }
            }
        }

        impl<'de> serde::Deserialize<'de> for $sum {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                struct Tags;
                impl<'de> serde::de::Visitor<'de> for Tags {
                    type Value = $sum;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str(stringify!($sum))
                    }

                    fn visit_enum<A: serde::de::EnumAccess<'de>>(
                        self,
                        access: A,
                    ) -> Result<$sum, A::Error> {
                        let (tag, tagged) = $crate::flat::Tagged::read(access)?;
                        $(
                            if <$inner>::TAGS.contains(&tag.as_str()) {
                                return <$inner as serde::Deserialize>::deserialize(tagged.whole())
                                    .map(|inner| $sum::$arm(inner.into()));
                            }
                        )*
                        Err(serde::de::Error::custom(format_args!(
                            "{tag:?} is nothing that this version of muster knows"
                        )))
                    }
                }
                from.deserialize_enum(stringify!($sum), &[], Tags)
            }
        }

        $(
            impl From<$inner> for $sum {
                fn from(inner: $inner) -> Self {
                    Self::$arm(inner.into())
                }
            }
        )*
    };
}
pub(crate) use flat_sum;
