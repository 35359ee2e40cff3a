//! The pages of a long list: what leads on, and back to its beginning.

use crate::answers::Paged;
use crate::organizations::in_query;

/// The links below a list.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pager {
    pub(crate) first: Option<String>,
    pub(crate) next: Option<String>,
    pub(crate) shown: usize,
}

impl Pager {
    /// Below a page of a list at an address, which shows what a query asks for. `is_later` where it is not the list's beginning.
    pub(crate) fn of<T>(page: &Paged<T>, address: &str, query: &str, is_later: bool) -> Self {
        let joined = if query.is_empty() { String::new() } else { format!("{query}&") };
        let next = page.next_cursor.as_deref().map(|cursor| format!("{address}?{joined}cursor={}", in_query(cursor)));
        let first = match query {
            "" => address.to_owned(),
            query => format!("{address}?{query}"),
        };
        Self { first: is_later.then_some(first), next, shown: page.data.len() }
    }

    /// Whether all of the list is shown.
    pub(crate) const fn is_all(&self) -> bool {
        self.first.is_none() && self.next.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_leads_on_and_back_to_its_beginning_with_what_is_looked_for() {
        let page = |next: Option<&str>| Paged { data: vec![1, 2], next_cursor: next.map(str::to_owned) };
        #[rustfmt::skip]
        let cases = [ // cursor of the next page, query, whether later, first, next
            (None,       "",         false, None,                  None),
            (Some("0a"), "",         false, None,                  Some("/x?cursor=0a")),
            (Some("0a"), "search=a", true,  Some("/x?search=a"),   Some("/x?search=a&cursor=0a")),
            (None,       "",         true,  Some("/x"),            None),
        ];
        for (cursor, query, is_later, first, next) in cases {
            let pager = Pager::of(&page(cursor), "/x", query, is_later);
            assert_eq!(
                (pager.first.as_deref(), pager.next.as_deref(), pager.shown),
                (first, next, 2),
                "{cursor:?} {query}"
            );
            assert_eq!(pager.is_all(), first.is_none() && next.is_none());
        }
    }
}
