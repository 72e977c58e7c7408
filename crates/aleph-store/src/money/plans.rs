//! What the planner of each engine makes of the questions about money, with many rows in every table.

use aleph_ledger::removal::Job;
use aleph_test_postgres::{Options, Server};
use aleph_types::content::PaymentType;
use aleph_types::{Address, Chain, ItemHash, Timestamp};

use super::lists::{self, BalanceFilter, BalanceStart, CostFilter};
use super::queries::{self, HistoryFilter, HistorySort, HistoryStart, HistoryValue};
use super::{backfill, balances, costs, credits, deferred, jobs};
use crate::engine::{Session, Value, values};
use crate::queries::{SortOrder, Sql, plan};
use crate::{Location, migrations, store};

/// Accounts; each has a balance, a cost, a few rows and lots.
const ACCOUNTS: i64 = 4_000;

fn fill(location: &Location) -> Session {
    let session = store::open_writer(location).unwrap();
    migrations::apply(&session, location).unwrap();
    session.begin().unwrap();
    for number in 0..ACCOUNTS {
        insert(&session, number);
    }
    session.commit().unwrap();
    session.batch("ANALYZE").unwrap();
    session
}

fn insert(session: &Session, number: i64) {
    let hash = ItemHash::sha256(&number.to_be_bytes());
    let (hash, owner) = (hash.as_str(), format!("0x{:020}", number * 7919 % ACCOUNTS));
    let execute = |sql: &str, values: &[Value<'_>]| session.execute(sql, values).unwrap();
    execute(
        "INSERT INTO balances (address, chain, dapp, amount, height, source, changed) \
         VALUES (?1,?2,'','1',1,?3,?4)",
        values![&owner, if number % 10 == 0 { "SOL" } else { "ETH" }, hash, number],
    );
    execute(
        "INSERT INTO messages (seq, item_hash, message_type, chain, sender, owner, signature, item_type, \
         item_content, size, time, content_time, content_type, reception_time) \
         VALUES (?1,?2,?3,'ETH',?4,?4,'0x','inline','{}',1,?1,?1,'note',?1)",
        values![number + 1, hash, if number % 10 == 0 { "INSTANCE" } else { "POST" }, &owner],
    );
    if number % 10 == 0 {
        execute(
            "INSERT INTO statuses (item_hash, status, reception_time, message) VALUES (?1,'removing',?2,?3)",
            values![hash, number, number + 1],
        );
    }
    execute(
        "INSERT INTO confirmations (item_hash, chain, tx_hash, height, time, publisher) \
         VALUES (?1,'ETH','0x1',?2,1,'0xP'), (?1,'ETH','0x2',?2,1,'0xP')",
        values![hash, number],
    );
    execute(
        "INSERT INTO account_costs (owner, item_hash, line, cost_type, name, payment_type, cost_hold, \
         cost_stream, cost_credit, workings) VALUES (?1,?2,0,'STORAGE','n','hold','1','1','1','{}')",
        values![&owner, hash],
    );
    execute(
        "INSERT INTO account_totals (owner, payment_type, total) VALUES (?1,'hold','1')",
        values![&owner],
    );
    for (index, kind) in ["granted", "spent", "sent"].into_iter().enumerate() {
        execute(
            "INSERT INTO credit_history (credit_ref, credit_index, time, is_expense, kind, address, amount, \
             origin, changed) VALUES (?1,?2,?3,0,?4,?5,1,'0xB',?3)",
            values![hash, index as u64, number, kind, &owner],
        );
    }
    for table in ["credit_lots", "credit_lots_anew"] {
        execute(
            &format!(
                "INSERT INTO {table} (time, credit_ref, credit_index, owner, remaining) VALUES (?1,?2,0,?3,1)"
            ),
            values![number, hash, &owner],
        );
    }
    execute(
        "INSERT INTO removals (item_hash, owner, payment_type, since, until) VALUES (?1,?2,'hold',1,?3)",
        values![hash, &owner, number],
    );
}

/// Every question, with values for it.
fn questions(owners: &[String]) -> Vec<(String, Vec<Value<'_>>)> {
    let owner = owners[0].as_str();
    let hash = "ab";
    let mut questions: Vec<(String, Vec<Value<'_>>)> = vec![
        (balances::STORED.to_owned(), values![owners, "ETH", ""].to_vec()),
        (balances::OF_ACCOUNTS.to_owned(), values![owners].to_vec()),
        (costs::TOTAL.to_owned(), values![owner, "hold"].to_vec()),
        (costs::PAID.to_owned(), values![hash].to_vec()),
        (credits::IS_APPLIED.to_owned(), values![hash].to_vec()),
        (credits::NEWEST_DRAIN.to_owned(), values![owner].to_vec()),
        (credits::OPEN_LOTS.to_owned(), values![owner].to_vec()),
        (credits::LOTS_OF_ACCOUNTS.to_owned(), values![owners].to_vec()),
        (credits::RECIPIENTS.to_owned(), values![owner].to_vec()),
        (credits::RECIPIENTS_SINCE.to_owned(), values![owner, 1_i64, 0_i64, hash].to_vec()),
        (credits::history_sql(true, 512), values![owner].to_vec()),
        (credits::history_sql(false, 512), values![owner, 1_i64, 0_i64, hash, 1_i64].to_vec()),
        (credits::post_sql(), values![hash].to_vec()),
        (deferred::different("credit_lots", "credit_lots_anew"), values![owner].to_vec()),
        (deferred::different("credit_lots_anew", "credit_lots"), values![owner].to_vec()),
        (backfill::found_sql(), values![1_i64, 100_i64].to_vec()),
        (jobs::due_removals_sql(256), values![100_i64, hash].to_vec()),
    ];
    for (job, payment) in [(Job::Hold, "hold"), (Job::Credit, "credit")] {
        questions.push((jobs::due_sql(job, 256), values![payment, owner, i64::MIN].to_vec()));
        questions.push((jobs::priced_sql(job), values![owners, payment].to_vec()));
    }
    questions
}

/// Fails on a walk over a whole table.
fn check(session: &Session) {
    let owners: Vec<String> = (0..20).map(|number| format!("0x{:020}", number * 100)).collect();
    let questions = questions(&owners);
    for (sql, values) in &questions {
        let (explain, column) = match session {
            Session::Sqlite(_) => ("EXPLAIN QUERY PLAN", 3),
            Session::Postgres(_) => ("EXPLAIN", 0),
        };
        let plan = session.rows(&format!("{explain} {sql}"), values, |row| row.string(column)).unwrap();
        for step in &plan {
            let walks = match session {
                Session::Sqlite(_) => {
                    let scans = step.starts_with("SCAN");
                    // Only the list that was asked for; an index walk without a bound is one over a table.
                    scans && !step.contains("json_each")
                }
                Session::Postgres(_) => step.contains("Seq Scan on"),
            };
            assert!(!walks, "{step}\n{sql}\n{}", plan.join("\n"));
        }
    }
    println!("{} questions are driven by an index", questions.len());
    check_lists(session, &owners[0]);
}

/// Every list that the API gives of money.
fn pages(session: &Session, owner: &str) -> Vec<Sql> {
    let owner = Address::from(owner);
    let mut pages = Vec::new();
    for chains in [None, Some(vec![Chain::Eth]), Some(vec![Chain::Eth, Chain::Sol])] {
        for least in [None, Some(1)] {
            let filter = BalanceFilter { chains: chains.clone(), least };
            let after = BalanceStart::After(owner.clone(), "ETH".into(), String::new());
            for start in [BalanceStart::Offset(40), after] {
                pages.push(lists::balances_sql(session, &filter, &start, 20));
            }
        }
    }
    for (of, message) in [
        (None, None),
        (Some(owner.clone()), None),
        (None, Some(ItemHash::sha256(b"1"))),
        (Some(owner.clone()), Some(ItemHash::sha256(b"1"))),
    ] {
        for payment in [PaymentType::Hold, PaymentType::Credit] {
            let filter = CostFilter { owner: of.clone(), message: message.clone(), payment };
            pages.push(lists::page_sql(&filter, 40, 20));
        }
    }
    for (least, after) in [(None, ""), (None, owner.as_str()), (Some(1), ""), (Some(1), owner.as_str())] {
        pages.push(queries::credit_page(Timestamp::EPOCH, least, after, (40, Some(20))));
    }
    for order in [SortOrder::Descending, SortOrder::Ascending] {
        for filter in [
            HistoryFilter::default(),
            HistoryFilter { incoming: Some(true), start: Some(Timestamp::EPOCH), ..Default::default() },
            HistoryFilter { resource_types: Some(vec!["INSTANCE".into()]), ..Default::default() },
        ] {
            let after = HistoryStart::After(Some(HistoryValue::Number(1)), "post".into(), 1);
            for start in [HistoryStart::Offset(40), after] {
                let sort = (HistorySort::Time, order);
                pages.push(queries::history_list(&owner, &filter, sort, (&start, Some(20))));
            }
        }
    }
    pages
}

/// Fails on a sort of everything and on a sum of everything before the first row: what remains are walks in
/// the order of the list, which end with the page.
fn check_lists(session: &Session, owner: &str) {
    let pages = pages(session, owner);
    for page in &pages {
        let steps = plan(session, page);
        for step in &steps {
            let sorts = match session {
                Session::Sqlite(_) => {
                    step.contains("USE TEMP B-TREE FOR ORDER BY") || step.contains("GROUP BY")
                }
                Session::Postgres(_) => {
                    // What the planner knows to be few may be sorted.
                    let rows =
                        step.split_once(" rows=").and_then(|(_, rest)| rest.split(' ').next()?.parse().ok());
                    let is_long = rows.unwrap_or(u64::MAX) > 100;
                    let step = step.trim_start_matches([' ', '-', '>']);
                    let sorts = step.starts_with("Sort  (") && is_long;
                    sorts || step.starts_with("Seq Scan") || step.starts_with("HashAggregate")
                }
            };
            let of_one = matches!(session, Session::Sqlite(_))
                && steps.iter().any(|step| step.contains("owner=?") || step.contains("item_hash=?"));
            assert!(!sorts || of_one, "{step}\n{page:?}\n{}", steps.join("\n"));
        }
    }
    println!("{} lists are walked in their order", pages.len());
}

#[test]
fn every_question_about_money_is_driven_by_an_index_of_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    check(&fill(&Location::from(folder.path().join("node.sqlite3"))));
}

#[test]
fn every_question_about_money_is_driven_by_an_index_of_postgres() {
    let server = Server::start(Options::fast()).unwrap();
    let url: crate::PostgresUrl = server.database("node").unwrap().parse().unwrap();
    check(&fill(&Location::Postgres(url)));
}
