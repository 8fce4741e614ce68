//! What every form of a value says of itself: how it is read, what its schema is, how its default is written; and the
//! macro that makes one out of a list of keys.

use jsonc_parser::ast::Value;
use schemars::{Schema, SchemaGenerator};
use serde_json::Value as Json;

use crate::node::Node;
use crate::reading::Reading;

/// A form that values of the config can take.
pub(crate) trait Form: Sized {
    /// Reads it, or notes why not.
    fn read(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<Self>;

    /// What it accepts. A reader may refuse more than a schema can say, never less.
    fn schema(generator: &mut SchemaGenerator) -> Schema;

    /// How it is written, when it is somebody's default; `None` for what is written by being left out.
    fn written(&self) -> Option<Json>;
}

/// A key as it is written: that of a field whose name Rust has a use for itself (`as`) stands behind `r#`.
pub(crate) const fn key(field: &'static str) -> &'static str {
    match field.as_bytes() {
        [b'r', b'#', ..] => field.split_at(2).1,
        _ => field,
    }
}

/// Makes a struct whose fields are the keys of an object, each with its form and its default; the reader, the schema
/// and the defaults all come from this one list.
macro_rules! document {
    ($(
        $(#[doc = $about:literal])+
        $name:ident $(requires $required:literal)? $(takes one of [$($one:literal),+])? {
            $( $(#[doc = $doc:literal])+ $field:ident: $type:ty = $default:expr; )+
        }
    )+) => { $(
        $(#[doc = $about])+
        #[derive(Clone, Debug)]
        pub(crate) struct $name { $( $(#[doc = $doc])+ pub $field: $type, )+ }

        impl Default for $name {
            fn default() -> $name {
                $name { $( $field: $default, )+ }
            }
        }

        impl $crate::form::Form for $name {
            fn read(
                node: &$crate::node::Node<'_>,
                reading: &mut $crate::reading::Reading<'_>,
            ) -> Option<$name> {
                let required: &[&str] = &[$( $required )?];
                let fields = reading.fields(node, &[$( $crate::form::key(stringify!($field)), )+], required)?;
                $( reading.one_of(node, &fields, &[$($one),+]); )?
                Some($name {
                    $( $field: fields.take($crate::form::key(stringify!($field)), reading).unwrap_or_else(|| $default), )+
                })
            }

            fn schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                generator.subschema_for::<$name>()
            }

            fn written(&self) -> Option<serde_json::Value> {
                let mut object = serde_json::Map::new();
                $( if let Some(value) = $crate::form::Form::written(&self.$field) {
                    object.insert($crate::form::key(stringify!($field)).to_owned(), value);
                } )+
                Some(object.into())
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let default = $name::default();
                let required: &[&str] = &[$( $required )?];
                let mut properties = serde_json::Map::new();
                $(
                    let mut property = <$type as $crate::form::Form>::schema(generator);
                    property.insert("description".into(), concat!($($doc),+).trim().into());
                    if let Some(value) = $crate::form::Form::written(&default.$field)
                        && !required.contains(&$crate::form::key(stringify!($field)))
                    {
                        property.insert("default".into(), value);
                    }
                    properties.insert($crate::form::key(stringify!($field)).to_owned(), property.to_value());
                )+
                #[allow(unused_mut)]
                let mut schema =
                    $crate::form::object_schema(concat!($($about),+).trim(), properties, required);
                $( $crate::form::exactly_one(&mut schema, &[$($one),+]); )?
                schema
            }
        }
    )+ };
}
pub(crate) use document;

/// The schema of an object that takes only these properties.
pub(crate) fn object_schema(
    about: &str,
    properties: serde_json::Map<String, Json>,
    required: &[&str],
) -> Schema {
    let mut schema = schemars::json_schema!({
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    });
    if !about.is_empty() {
        schema.insert("description".into(), about.into());
    }
    if !required.is_empty() {
        schema.insert("required".into(), required.into());
    }
    schema
}

/// Has an object take exactly one of these keys.
pub(crate) fn exactly_one(schema: &mut Schema, keys: &[&str]) {
    let forms: Vec<Json> = keys.iter().map(|key| serde_json::json!({ "required": [key] })).collect();
    schema.insert("oneOf".into(), forms.into());
}

/// An option that may be left out, and then means nothing.
impl<T: Form> Form for Option<T> {
    fn read(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<Option<T>> {
        T::read(node, reading).map(Some)
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        T::schema(generator)
    }

    fn written(&self) -> Option<Json> {
        self.as_ref().and_then(T::written)
    }
}

impl Form for bool {
    fn read(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<bool> {
        match node.value {
            Value::BooleanLit(literal) => Some(literal.value),
            _ => reading.wrong(node, "true or false"),
        }
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({ "type": "boolean" })
    }

    fn written(&self) -> Option<Json> {
        Some((*self).into())
    }
}
