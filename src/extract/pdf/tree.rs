//! The tree of pages, looked at before the library walks it.
//!
//! The library goes 50 levels deep and does not notice when it comes back to where it was: a node that
//! names itself twice among its kids is 2^50 nodes.

use crate::extract::{ExtractError, limits};
use pdf_oxide::PdfDocument;
use pdf_oxide::object::{Object, ObjectRef};
use std::collections::HashSet;

/// Most nodes, the pages among them.
const NODES: usize = 2 * limits::PAGES;

/// Refuses a tree that comes back to one of its nodes, or has too many. A page may be named twice.
pub(super) fn check(document: &PdfDocument) -> Result<(), ExtractError> {
    let mut seen = HashSet::new();
    let mut next: Vec<ObjectRef> = root(document).into_iter().collect();
    while let Some(node) = next.pop() {
        let kids = kids(document, node);
        let problem = if seen.insert(node) {
            next.extend(kids);
            (seen.len() > NODES).then(|| format!("its tree of pages has over {NODES} nodes"))
        } else {
            let comes_back = || format!("its tree of pages comes back to object {}", node.id);
            (!kids.is_empty()).then(comes_back)
        };
        if let Some(problem) = problem {
            return Err(ExtractError::Malformed(problem));
        }
    }
    Ok(())
}

fn root(document: &PdfDocument) -> Option<ObjectRef> {
    let catalog = document.catalog().ok()?;
    catalog.as_dict()?.get("Pages")?.as_reference()
}

/// The nodes below one; none below a page, nor where it cannot be read.
fn kids(document: &PdfDocument, node: ObjectRef) -> Vec<ObjectRef> {
    let kids = || {
        let node = document.load_object(node).ok()?;
        let kids = document.resolve_object(node.as_dict()?.get("Kids")?).ok()?;
        let kids = kids.as_array()?.iter();
        Some(kids.filter_map(Object::as_reference).collect())
    };
    kids().unwrap_or_default()
}
