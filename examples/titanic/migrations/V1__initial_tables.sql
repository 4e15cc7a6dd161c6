-- The column names are those of the original table, spelling included.
CREATE TABLE titanic (
    PasengerId INT NOT NULL distkey sortkey,
    Survived   BOOLEAN,
    Pclass     SMALLINT,
    Name       VARCHAR(128),
    Sex        VARCHAR(8),
    Age        DECIMAL(3,1),
    SibSp      SMALLINT,
    Parch      SMALLINT,
    Ticket     VARCHAR(32),
    Fare       DECIMAL(8,2),
    Cabin      VARCHAR(16),
    Embarked   CHAR(1)
);
