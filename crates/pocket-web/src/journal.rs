//! The journal of conflicts and refusals.

use js_sys::Promise;
use pocket_core::{CollectionName, JournalFilter};
use wasm_bindgen::prelude::wasm_bindgen;

use crate::database::RawDatabase;
use crate::encode::{self, Writer};
use crate::error::Told;
use crate::options::JournalOptions;
use crate::promise::{bytes, promise, whole};

#[wasm_bindgen]
impl RawDatabase {
    /// Entries that fit the options, given as JSON.
    #[wasm_bindgen(js_name = journalList, unchecked_return_type = "Promise<Uint8Array>")]
    pub fn journal_list(&self, options: String) -> Promise {
        let journal = self.database().journal();
        promise(async move {
            let options = JournalOptions::read(&options).told()?;
            let mut filter = JournalFilter::default();
            filter.state = options.state;
            filter.kind = options.kind;
            let collection = options.collection.as_deref().map(CollectionName::new);
            filter.collection = collection.transpose().told()?;
            let limit = options.limit.unwrap_or(usize::MAX);
            let entries = journal.list_matching(&filter, options.after, limit).await;
            let entries = entries.told()?;
            let mut to = Writer::default();
            to.array(entries.len());
            for entry in &entries {
                to.entry(entry);
            }
            Ok(bytes(&to.into_bytes()))
        })
    }

    /// An entry.
    #[wasm_bindgen(js_name = journalGet, unchecked_return_type = "Promise<Uint8Array>")]
    pub fn journal_get(&self, number: f64) -> Promise {
        let journal = self.database().journal();
        promise(async move {
            let entry = journal.get(whole(number, NUMBER)?).await.told()?;
            let mut to = Writer::default();
            to.entry(&entry);
            Ok(bytes(&to.into_bytes()))
        })
    }

    /// An entry in words.
    #[wasm_bindgen(js_name = journalExplain, unchecked_return_type = "Promise<Uint8Array>")]
    pub fn journal_explain(&self, number: f64) -> Promise {
        let journal = self.database().journal();
        promise(async move {
            let explanation = journal.explain(whole(number, NUMBER)?).await.told()?;
            let mut to = Writer::default();
            to.explanation(&explanation);
            Ok(bytes(&to.into_bytes()))
        })
    }

    /// Brings back what lost.
    #[wasm_bindgen(js_name = journalRestore, unchecked_return_type = "Promise<Uint8Array>")]
    pub fn journal_restore(&self, number: f64) -> Promise {
        let journal = self.database().journal();
        promise(async move {
            let restored = journal.restore(whole(number, NUMBER)?).await.told()?;
            Ok(bytes(&encode::rows(&restored)))
        })
    }

    /// Leaves it as it was decided.
    #[wasm_bindgen(js_name = journalDismiss, unchecked_return_type = "Promise<void>")]
    pub fn journal_dismiss(&self, number: f64) -> Promise {
        let journal = self.database().journal();
        let number = whole(number, NUMBER);
        promise(async move {
            journal.dismiss(number?).await.told()?;
            Ok(wasm_bindgen::JsValue::UNDEFINED)
        })
    }
}

/// What errors call it.
const NUMBER: &str = "the number of an entry of the journal";
