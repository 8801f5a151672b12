//! Protobuf is read without panics, and an object of any kind survives being written and read.

use arbitrary::Unstructured;
use vkube_apiserver::{
    codec::protobuf,
    schema::{decode, types::Type},
};

fn there_and_back(document: &serde_json::Value, ty: Type<'_>) {
    let bytes = protobuf::encode(document, ty);
    let once = protobuf::decode(&bytes, ty).expect("what was written can be read");
    // Protobuf knows no difference between absent and empty, so the second time decides.
    let again = protobuf::decode(&protobuf::encode(&once, ty), ty).expect("what was written can be read");
    assert_eq!(again, once);
}

/// Tries one input.
pub fn fuzz(data: &[u8]) {
    let mut u = Unstructured::new(data);
    let Ok(ty) = crate::ty(&mut u) else { return };
    if u.arbitrary().unwrap_or(false) {
        if let Ok(value) = crate::value(&mut u, ty)
            && let Ok((object, _)) = decode::decode(value, ty)
        {
            there_and_back(&object, ty);
        }
    } else if let Ok(document) = protobuf::decode(u.take_rest(), ty) {
        there_and_back(&document, ty);
    }
}
