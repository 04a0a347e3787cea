//! The tree of pages, looked at before the library walks it.
//!
//! The library goes 50 levels deep and does not notice when it comes back to where it was: a node that
//! names itself twice among its kids is 2^50 nodes.

use crate::extract::{ExtractError, limits};
use pdf_oxide::PdfDocument;
use pdf_oxide::object::{Object, ObjectRef};
use std::collections::HashSet;

/// Most nodes between the root and the pages.
const BRANCHES: usize = limits::PAGES;

/// Refuses a tree that comes back to one of its nodes, or has too many.
pub(super) fn check(document: &PdfDocument) -> Result<(), ExtractError> {
    let Some(root) = root(document) else {
        return Ok(());
    };
    let mut seen = HashSet::new();
    let mut next = vec![root];
    while let Some(node) = next.pop() {
        let is_known = seen.contains(&node);
        if is_known && !is_branch(document, node) {
            continue;
        }
        if is_known {
            let problem = format!("its tree of pages comes back to object {}", node.id);
            return Err(ExtractError::Malformed(problem));
        }
        seen.insert(node);
        if seen.len() > BRANCHES + limits::PAGES {
            let problem = format!("its tree of pages has over {} nodes", seen.len() - 1);
            return Err(ExtractError::Malformed(problem));
        }
        next.extend(kids(document, node));
    }
    Ok(())
}

fn root(document: &PdfDocument) -> Option<ObjectRef> {
    let catalog = document.catalog().ok()?;
    catalog.as_dict()?.get("Pages")?.as_reference()
}

fn is_branch(document: &PdfDocument, node: ObjectRef) -> bool {
    !kids(document, node).is_empty()
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
