//! The parties whose keys are here: where each is paid on every ledger, what it has there, and what it lacks to pay.

use sofie_ledgers::{Coins, Ledger, LedgerError, Treasury};
use sofie_model::{Account, Class, LedgerId};

use crate::api::{Amount, ApiError, ErrorKind, FreeCoins, Holder, Holding};
use crate::runtime::Runtime;

pub(super) async fn holder(node: &Runtime, name: &str) -> Result<Holder, ApiError> {
    let keys = node.parties().named(name).ok_or_else(|| unknown(name))?;
    let (name, account) = (keys.name().to_string(), keys.account());
    let mut ledgers = Vec::new();
    for (id, ledger) in node.ledgers().iter() {
        ledgers.push(match ledger.treasury() {
            Some(treasury) => held(id, treasury, account).await,
            None => unpaid(id, ledger.as_ref(), account),
        });
    }
    Ok(Holder { name, account, ledgers })
}

async fn held(id: &LedgerId, treasury: &dyn Treasury, account: Account) -> Holding {
    let asked =
        async { Ok::<_, LedgerError>((treasury.balance(account).await?, treasury.coins(account).await?)) };
    let (amount, coins, missing) = match asked.await {
        Ok((amount, coins)) => (Some(amount), coins, lacks(amount, coins)),
        Err(error) => (None, None, Some(error.to_string())),
    };
    Holding {
        ledger: id.clone(),
        address: treasury.address(account),
        amount: amount.map(Amount),
        coins: coins.map(|Coins { count, worth }| FreeCoins { count, worth: Amount(worth) }),
        missing,
    }
}

/// Who is to pay, or to lock, needs that much.
fn lacks(amount: u128, coins: Option<Coins>) -> Option<String> {
    let why = match coins {
        _ if amount == 0 => "it holds nothing: a payment, and its fee, must be sent to the address first",
        Some(coins) if coins.count == 0 => {
            "no coin is free: each is unconfirmed or of a payment under way; another payment waits, or send a coin more"
        }
        _ => return None,
    };
    Some(why.into())
}

/// On a ledger that shows no money.
fn unpaid(id: &LedgerId, ledger: &dyn Ledger, account: Account) -> Holding {
    let custodian = ledger.profile().classes.contains(&Class::Escrow);
    let address = custodian.then(|| account.to_string());
    let missing = custodian.then(|| "a custodian shows no balances: ask it".to_owned());
    Holding { ledger: id.clone(), address, amount: None, coins: None, missing }
}

fn unknown(name: &str) -> ApiError {
    let why = format!("this node holds no key of a party {name:?}");
    ApiError::new(ErrorKind::NotFound, "no such party", why).next("list them with GET /api/v1/parties")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_holds_nothing_or_no_free_coin_is_told_so() {
        let coins = |count| Some(Coins { count, worth: 5 });
        for (amount, coins, said) in [
            (0, None, Some("it holds nothing")),
            (0, coins(0), Some("it holds nothing")),
            (7, coins(0), Some("no coin is free")),
            (7, coins(1), None),
            (7, None, None),
        ] {
            let lacks = lacks(amount, coins);
            assert_eq!(
                lacks.as_deref().map(|why| why.split(':').next().unwrap()),
                said,
                "{amount} {coins:?}"
            );
        }
    }
}
