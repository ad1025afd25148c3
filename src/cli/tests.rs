use clap::{CommandFactory, Parser};

use super::arguments::{Arguments, Command};
use crate::config::ConfigFile;

fn parse(line: &str) -> Result<Arguments, clap::Error> {
    Arguments::try_parse_from(std::iter::once("pointsman").chain(line.split_whitespace()))
}

#[test]
fn the_command_line_is_well_formed() {
    Arguments::command().debug_assert();
}

#[test]
fn help_names_every_command_and_each_has_an_example() {
    let mut command = Arguments::command();
    let help = command.render_long_help().to_string();
    for sub in command.get_subcommands_mut().filter(|sub| sub.get_name() != "help") {
        let name = sub.get_name().to_owned();
        assert!(help.contains(&format!("\n  {name} ")), "`{name}` is missing in:\n{help}");
        let own = sub.render_long_help().to_string();
        assert!(own.contains("Example") && own.contains(&format!("$ pointsman {name}")), "{own}");
        assert!(own.lines().all(|line| line.len() <= 100), "too wide:\n{own}");
    }
}

#[test]
fn serve_is_what_is_meant_without_a_command() {
    for (line, path) in [("", None), ("--config a.yaml", Some("a.yaml")), ("serve --config a.yaml", Some("a.yaml"))] {
        let arguments = parse(line).unwrap();
        let serve = match arguments.command {
            Some(Command::Serve(serve)) => serve,
            None => arguments.serve,
            other => panic!("{line}: {other:?}"),
        };
        if let Some(path) = path {
            assert_eq!(serve.config(), ConfigFile::Disk(path.into()), "{line}");
        }
    }
}

#[test]
fn wrong_usage_is_refused() {
    for line in [
        "frobnicate",
        "--frobnicate",
        "listen",
        "publish",
        "listen --token t --count 0",
        "check --format xml",
        "serve --instance a b",
        "serve --instance ä",
        "serve --log loud",
    ] {
        assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
    }
}

#[test]
fn an_access_token_does_not_show_in_what_is_logged() {
    let arguments = parse("listen --token very-secret").unwrap();
    assert!(!format!("{arguments:?}").contains("very-secret"));
}
